"""Electrons: functions that become tasks when a lattice calls them."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from covalent_core._compose.building import GraphBuilder, builder_at_work, is_composing
from covalent_core._compose.outputs import NodeOutput
from covalent_core._model.graph import ExecutorSpec, short
from covalent_core._model.task_options import check_executor, check_options
from covalent_core._runner.deps import Deps
from covalent_core.errors import GraphError

P = ParamSpec("P")
R = TypeVar("R")


class Composed:
    """A function that is a graph of its own where it is called in a lattice."""

    def add_to(self, builder: GraphBuilder, args: Any, kwargs: Any, settings: Electron[..., Any]) -> NodeOutput:
        """Add the node that builds the graph.

        Args:
            settings: Where and how that is done.
        """
        raise NotImplementedError


class Electron(Generic[P, R]):
    """A function that is one task of a workflow.

    Called in a lattice it becomes a node and returns a stand-in for its output; called anywhere else it just runs.

    Attributes:
        function: The function itself.
        executor: Where it runs: an executor, the name of one, or None for the lattice's.
        options: What has been set of retries, retry_delay, timeout and grace.
        deps: What it needs before it runs, and what follows it.
    """

    def __init__(
        self,
        function: Callable[P, R],
        executor: Any = None,
        options: Mapping[str, Any] | None = None,
        deps: Deps | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.executor = executor
        check_executor(executor)
        self.deps = deps or Deps()
        self.options = check_options(f"electron {self.name}", options or {})

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Add a node to the lattice being built, or just run the function.

        Raises:
            GraphError: An argument does not fit the function's signature or cannot be pickled.
        """
        builder = builder_at_work()

        if builder is None:
            return self.function(*args, **kwargs)

        chosen = builder.replacements.get(self.name, self)

        if isinstance(chosen.function, Composed):
            composed: Any = chosen.function.add_to(builder, args, kwargs, chosen)
            return composed  # type: ignore[no-any-return]

        given = {**kwargs, **dict.fromkeys(chosen.deps.or_else(builder.deps).keywords)}
        check_call(chosen.function, f"electron {self.name}", args, given)
        # Whoever composes a lattice sees the type of the value; the stand-in behaves like one.
        output: Any = chosen._add_to(builder, self.name, args, kwargs)
        return output  # type: ignore[no-any-return]

    def _add_to(self, builder: GraphBuilder, name: str, args: Any, kwargs: Any) -> NodeOutput:
        spec = None if self.executor is None else builder.spec_of(self.executor, describe)
        deps = self.deps.or_else(builder.deps)
        return builder.add_call(name, deps.around(self.function), args, kwargs, spec, {**self.options, **deps.options})

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind a method to its object, as a plain function does."""
        return self if instance is None else self._bound(instance)

    def _bound(self, instance: Any) -> Electron[..., R]:
        return Electron(self.function.__get__(instance), self.executor, self.options, self.deps)

    @property
    def name(self) -> str:
        """The name that its nodes bear."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __reduce__(self) -> tuple[Any, ...]:
        if is_composing():
            spec = None if self.executor is None else describe(self.executor)
            return Electron, (self.function, spec, self.options, self.deps)

        # Inside a task an electron is its function; built-ins bring it back, so the far side needs nothing of ours.
        return operator.itemgetter(0), ((self.function,),)


@overload
def electron(function: Callable[P, R], /) -> Electron[P, R]: ...
@overload
def electron(
    *,
    executor: Any = None,
    retries: int | None = None,
    retry_delay: float | None = None,
    timeout: float | None = None,
    grace: float | None = None,
    deps_pip: Any = None,
    deps_bash: Any = None,
    call_before: Any = (),
    call_after: Any = (),
) -> Callable[[Callable[P, R]], Electron[P, R]]: ...
def electron(
    function: Any = None,
    /,
    *,
    executor: Any = None,
    deps_pip: Any = None,
    deps_bash: Any = None,
    call_before: Any = (),
    call_after: Any = (),
    **options: Any,
) -> Any:
    """Turn a function into an electron.

    Args:
        executor: Where it runs: an executor instance, or the name of an installed one with the options of the
            configuration. Default: the lattice's executor.
        retries: How often it is run again when it has failed. A task that was cancelled never is. Default: 0.
        retry_delay: Seconds before it is run again. Default: 0.
        timeout: Seconds after which it is ended as by a cancel and has failed. They begin where the function begins.
        grace: Seconds between SIGTERM and SIGKILL when it is cancelled. Default: the executor's.
        deps_pip: Packages to install into a folder of its own where it runs: requirements, or a `DepsPip`.
        deps_bash: Shell commands to run before it: texts, or a `DepsBash`.
        call_before: Functions to call before it, in its process: functions, or `DepsCall` objects.
        call_after: Functions to call after it has returned.

    Raises:
        GraphError: An option is unknown or does not fit.
        ExecutorOptionError: The executor's `max_workers`, `grace` or `pack` does not fit.
    """
    deps = Deps(deps_pip, deps_bash, call_before, call_after)

    if function is None:
        return lambda function: Electron(function, executor, options, deps)

    return Electron(function, executor, options, deps)


def describe(executor: Any) -> ExecutorSpec:
    """Return an executor as the store keeps it; one that already is in that form as it is."""
    if isinstance(executor, ExecutorSpec):
        return executor

    # Not needed where a sublattice is built: there all executors have this form, and no plugin is installed.
    from covalent_core._executors import installed

    return installed.describe(executor)


def wait(child: Any, parents: Any) -> Any:
    """Let an electron start only after others have completed, though it takes nothing from them.

    Args:
        child: The output of the electron that is to wait.
        parents: The output, or a list of outputs, to wait for.

    Returns:
        `child`.

    Raises:
        GraphError: One of them is not the output of an electron of this lattice.
    """
    builder = builder_at_work()

    if builder is None:
        return child

    if not isinstance(child, NodeOutput):
        raise GraphError(f"ct.wait takes the outputs of electrons, not {short(child)} ({type(child).__name__})")

    return child.wait_for(parents)


def check_call(function: Callable[..., Any], what: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raise GraphError if the arguments do not fit the signature, where the function has one."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return

    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise GraphError(f"{what}{signature} cannot be called like this: {error}") from error
