"""Lattices: functions that compose electrons into a workflow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, overload

from covalent_core._compose.building import GraphBuilder, builder_at_work, building, composing, is_composing
from covalent_core._compose.electron import Composed, Electron, check_call, describe
from covalent_core._compose.outputs import NodeOutput
from covalent_core._compose.pickling import dumps
from covalent_core._model.exchange import to_json
from covalent_core._model.graph import SUBLATTICE, ExecutorSpec, Role, TransportGraph, short
from covalent_core._model.task_options import check_executor, check_options, check_pack
from covalent_core._runner.deps import Deps

P = ParamSpec("P")
R = TypeVar("R")


class Lattice(Composed, Generic[P, R]):
    """A workflow: a function that calls electrons.

    Attributes:
        function: The function itself.
        executor: Where electrons run that name no executor.
        options: What its electrons have that do not set it themselves: retries, retry_delay, timeout and grace.
        timeout: Seconds after which a dispatch of it is cancelled.
        pack: How its electrons are packed into jobs.
        replacements: Electrons to call instead of others, by their names, in its sublattices too.
        deps: What its electrons need, or what follows them, that do not say it themselves.
    """

    def __init__(
        self,
        function: Callable[P, R],
        executor: Any = None,
        options: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        pack: int | str | None = None,
        replacements: Mapping[str, Electron[Any, Any]] | None = None,
        deps: Deps | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.executor = executor
        check_executor(executor)
        self.options = check_options(f"lattice {self.name}", options or {})
        self.timeout = check_options(f"lattice {self.name}", {"timeout": timeout}).get("timeout")
        self.pack = check_pack(f"lattice {self.name}", pack)
        self.replacements = dict(replacements or {})
        self.deps = deps or Deps()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Just run the function; in a lattice that is being built, add a node that becomes a dispatch of its own.

        Raises:
            GraphError: An argument does not fit the function's signature or cannot be pickled.
        """
        builder = builder_at_work()

        if builder is None:
            return self.function(*args, **kwargs)

        output: Any = self.add_to(builder, args, kwargs, Electron(self))
        return output  # type: ignore[no-any-return]

    def add_to(self, builder: GraphBuilder, args: Any, kwargs: Any, settings: Electron[..., Any]) -> NodeOutput:
        """Add the node of a sublattice.

        Args:
            settings: Where and how its graph is built. What is in the graph has the settings of this lattice.
        """
        check_call(self.function, f"lattice {self.name}", args, {**kwargs, **dict.fromkeys(settings.deps.keywords)})
        spec = builder.graph.default_executor if self.executor is None else builder.spec_of(self.executor, describe)
        function = settings.deps.around(Sublattice(self, spec, builder.local, builder.replacements))
        where = spec if settings.executor is None else builder.spec_of(settings.executor, describe)
        options = {**settings.options, **settings.deps.options}
        return builder.add_call(SUBLATTICE + self.name, function, args, kwargs, where, options, Role.SUBLATTICE)

    @property
    def name(self) -> str:
        """The name that its dispatches bear."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def build_graph(self, *args: P.args, **kwargs: P.kwargs) -> TransportGraph:
        """Run the function and record which electrons it calls with what.

        Raises:
            GraphError: The function does what cannot become a graph; nothing is stored.
            ExecutorError: An executor is not installed or its options are wrong.
        """
        local = describe("local")
        spec = local if self.executor is None else describe(self.executor)
        return self.build_graph_on(spec, local, {}, args, kwargs)

    def replacing(self, replacements: Mapping[str, Electron[Any, Any]]) -> Lattice[P, R]:
        """Return this lattice with other electrons in place of those of these names, besides those it has replaced."""
        every = {**self.replacements, **replacements}
        return Lattice(self.function, self.executor, self.options, self.timeout, self.pack, every, self.deps)

    def build_graph_on(
        self,
        executor: ExecutorSpec,
        local: ExecutorSpec,
        replacements: Mapping[str, Electron[Any, Any]],
        args: Any,
        kwargs: Any,
    ) -> TransportGraph:
        """Build the graph for a default executor that is known; see `build_graph`.

        Args:
            local: The executor of this machine.
            replacements: What the lattice in which it is called replaces.
        """
        check_call(self.function, f"lattice {self.name}", args, kwargs)
        settings = {"timeout": self.timeout, "pack": self.pack}
        graph = TransportGraph(self.name, executor, settings)
        every = {**self.replacements, **replacements}
        builder = GraphBuilder(graph, local=local, defaults=self.options, replacements=every, deps=self.deps)

        with building(builder):
            builder.set_result(self.function(*args, **kwargs))

        return graph

    def __reduce__(self) -> tuple[Any, ...]:
        spec = describe(self.executor) if is_composing() and self.executor is not None else self.executor
        return Lattice, (self.function, spec, self.options, self.timeout, self.pack, self.replacements, self.deps)


class Sublattice:
    """What the node of a sublattice runs: it builds the graph, where the node runs, and gives it as JSON."""

    def __init__(
        self,
        lattice: Lattice[Any, Any],
        executor: ExecutorSpec,
        local: ExecutorSpec,
        replacements: Mapping[str, Electron[Any, Any]],
    ) -> None:
        self._lattice = lattice
        self._executor = executor
        self._local = local
        self._replacements = dict(replacements)

    def __call__(self, *args: Any, **kwargs: Any) -> bytes:
        graph = self._lattice.build_graph_on(self._executor, self._local, self._replacements, args, kwargs)
        shown = {"args": [*map(short, args)], "kwargs": {name: short(value) for name, value in kwargs.items()}}
        graph.settings = {**graph.settings, **shown}
        return to_json(graph)


@overload
def lattice(function: Callable[P, R], /) -> Lattice[P, R]: ...
@overload
def lattice(
    *,
    executor: Any = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    task_timeout: float | None = None,
    grace: float | None = None,
    timeout: float | None = None,
    pack: int | str | None = None,
    deps_pip: Any = None,
    deps_bash: Any = None,
    call_before: Any = (),
    call_after: Any = (),
) -> Callable[[Callable[P, R]], Lattice[P, R]]: ...
def lattice(
    function: Any = None,
    /,
    *,
    executor: Any = None,
    timeout: float | None = None,
    pack: int | str | None = None,
    task_timeout: float | None = None,
    deps_pip: Any = None,
    deps_bash: Any = None,
    call_before: Any = (),
    call_after: Any = (),
    **options: Any,
) -> Any:
    """Turn a function into a lattice.

    Called in another lattice it is a sublattice: one node there, and a dispatch of its own when that node runs.

    Args:
        executor: Where electrons run that name no executor of their own: an instance, or an installed one's name.
            Default: for a sublattice that of the lattice it is called in, else the local one.
        retries: For electrons that do not set it themselves; so are retry_delay and grace. See `electron`.
        task_timeout: The timeout of electrons that set none.
        timeout: Seconds after which the whole dispatch is cancelled.
        pack: How electrons are packed into jobs, unless their executor says it: a number, how many that are ready
            together make one job; "chain", each with what needs only it and runs on the same executor; "auto", as many
            jobs as the executor has workers, with chains. Default: one job each.
        deps_pip: For electrons that have none themselves; so are deps_bash, call_before and call_after. See `electron`.

    Raises:
        GraphError: An option is unknown or does not fit.
        ExecutorOptionError: The executor's `max_workers`, `grace` or `pack` does not fit.
    """
    options["timeout"] = task_timeout
    deps = Deps(deps_pip, deps_bash, call_before, call_after)

    if function is None:
        return lambda function: Lattice(function, executor, options, timeout, pack, deps=deps)

    return Lattice(function, executor, options, timeout, pack, deps=deps)


def dump_for_redispatch(lattice: Lattice[Any, Any], args: Any, kwargs: Any) -> tuple[bytes, bytes]:
    """Return a lattice and its arguments, pickled so that the graph can be built again from them."""
    with composing():
        return dumps(lattice, lambda _: None, is_code=True), dumps((args, kwargs), lambda _: None)
