"""Electrons: functions that become tasks when a lattice calls them, and what can be done with their outputs."""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from covalent_core._deps import Deps, Prepared
from covalent_core._graph import (
    ExecutorSpec,
    NodeOutput,
    TransportGraph,
    graph_being_built,
    is_composing,
    name_of,
    short,
)
from covalent_core._task_options import check_options
from covalent_core.errors import GraphError

P = ParamSpec("P")
R = TypeVar("R")


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
        self.deps = deps or Deps()
        self.options = check_options(f"electron {self.name}", options or {})

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Add a node to the lattice being built, or just run the function.

        Raises:
            GraphError: An argument does not fit the function's signature or cannot be pickled.
        """
        graph = graph_being_built()

        if graph is None:
            return self.function(*args, **kwargs)

        chosen = graph.replacements.get(self.name, self)
        given = {**kwargs, **dict.fromkeys(chosen.deps.keywords)}
        check_call(chosen.function, f"electron {self.name}", args, given)
        # Whoever composes a lattice sees the type of the value; the stand-in behaves like one.
        output: Any = chosen._add_to(graph, self.name, args, kwargs)
        return output  # type: ignore[no-any-return]

    def _add_to(self, graph: TransportGraph, name: str, args: Any, kwargs: Any) -> NodeOutput:
        spec = None if self.executor is None else graph.spec_of(self.executor, describe)
        function = Prepared(self.function, self.deps) if self.deps else self.function
        options = {**self.options, "fresh": True} if self.deps.fresh else self.options
        return graph.add_call(name, function, args, kwargs, spec, options)

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
    from covalent_core import _executors

    return _executors.describe(executor)


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
    graph = graph_being_built()

    if graph is None:
        return child

    every = list(parents) if isinstance(parents, (list, tuple, set, frozenset)) else [parents]

    for output in [child, *every]:
        if not isinstance(output, NodeOutput):
            raise GraphError(f"ct.wait takes the outputs of electrons, not {short(output)} ({type(output).__name__})")

    for parent in every:
        graph.add_wait(child, parent)

    return child


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


# --- what can be done with an output -----------------------------------------------------------------------------

_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow and or xor lshift rshift".split()
_UNARY = "neg pos invert abs".split()
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def _operation(output: NodeOutput, name: str, function: Callable[..., Any], *args: Any) -> NodeOutput:
    graph: TransportGraph = output._ct_graph

    if graph is not graph_being_built():
        raise GraphError(f"{name_of(output)} can be used only while its lattice {graph.lattice!r} is being built")

    return graph.add_operation(name, function, *args)


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    # pow and divmod are built-ins that take more, or have no operator.
    function = getattr(builtins, name, None) or getattr(operator, f"__{name}__")

    def forward(self: NodeOutput, other: Any, *more: Any) -> NodeOutput:
        return _operation(self, f":{name}:", function, self, other, *more)

    def reflected(self: NodeOutput, other: Any) -> NodeOutput:
        return _operation(self, f":{name}:", function, other, self)

    return forward, reflected


def _unary(name: str) -> Callable[..., Any]:
    function = operator.abs if name == "abs" else getattr(operator, f"__{name}__")
    return lambda self: _operation(self, f":{name}:", function, self)


def _get_item(self: NodeOutput, key: Any) -> NodeOutput:
    return _operation(self, f":getitem:{short(key)}", operator.getitem, self, key)


def _get_attribute(self: NodeOutput, name: str) -> NodeOutput:
    # Interpreters and notebooks probe objects for these; a probe must not become a node.
    if name.startswith(("__", "_repr_", "_ipython_")):
        raise AttributeError(name)

    return _operation(self, f":getattr:{name}", getattr, self, name)


def _set_attribute(self: NodeOutput, name: str, value: Any) -> None:
    if not name.startswith("_ct_"):
        _refuse(self, "changed", "Electrons return new values; change it inside an electron")

    object.__setattr__(self, name, value)


def _iterate(self: NodeOutput) -> Iterator[NodeOutput]:
    count = _unpacked_by(inspect.currentframe())

    if count is None:
        _refuse(self, "iterated over", "Loop inside an electron, or unpack a known number: a, b = e")

    items = _operation(self, f":unpack:{count}", _unpack, self, count)
    return iter([_get_item(items, place) for place in range(count)])


def _unpack(value: Any, count: int) -> tuple[Any, ...]:
    items = tuple(value)

    if len(items) != count:
        raise ValueError(f"expected {count} values to unpack, got {len(items)}")

    return items


# So that it goes by value: the far side has no such module.
_unpack.__module__ = "__main__"


def _unpacked_by(frame: FrameType | None) -> int | None:
    """Return n where the caller of the caller is at ``a, b, … = e`` with n targets, else None."""
    caller = frame.f_back if frame is not None else None

    if caller is None:
        return None

    for instruction in dis.get_instructions(caller.f_code):
        if instruction.offset == caller.f_lasti:
            return instruction.arg if instruction.opname == "UNPACK_SEQUENCE" else None

    return None


def _refuse(output: NodeOutput, what: str, instead: str) -> NoReturn:
    raise GraphError(
        f"{name_of(output)} cannot be {what} in lattice {output._ct_graph.lattice!r}: its value is known only after it "
        f"has run. {instead}."
    )


def _refusal(what: str, instead: str) -> Callable[..., Any]:
    def refuse(self: NodeOutput, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, what, instead)

    return refuse


def _equip() -> None:
    """Give `NodeOutput` its behaviour; the class itself is pure data of the graph."""
    inside = "Do it inside an electron"
    behaviour: dict[str, Any] = {
        "__getitem__": _get_item,
        "__getattr__": _get_attribute,
        "__iter__": _iterate,
        "__hash__": object.__hash__,
        "__repr__": lambda self: f"<output of {name_of(self)}>",
        "__bool__": _refusal("used as a condition", "Put the if inside an electron"),
        "__len__": _refusal("measured with len()", "Call len() inside an electron"),
        "__contains__": _refusal("searched with 'in'", inside),
        "__call__": _refusal("called", "Calling a method or a function it returned needs an electron of its own"),
        "__str__": _refusal("made a string", "Format it inside an electron"),
        "__format__": _refusal("formatted", "Format it inside an electron"),
        "__index__": _refusal("made an index", inside),
        "__reversed__": _refusal("iterated over", "Reverse it inside an electron"),
        "__setitem__": _refusal("changed", "Electrons return new values; change it inside an electron"),
        "__delitem__": _refusal("changed", "Electrons return new values; change it inside an electron"),
        "__setattr__": _set_attribute,
        "__delattr__": _refusal("changed", "Electrons return new values; change it inside an electron"),
        "__enter__": _refusal("entered with 'with'", inside),
        "__exit__": _refusal("entered with 'with'", inside),
        "__next__": _refusal("iterated over", "Call next() inside an electron"),
        "__fspath__": _refusal("made a path", inside),
        "__round__": lambda self, *digits: _operation(self, ":round:", round, self, *digits),
        # Without this, an array on the left would compute with the stand-in, one node an element.
        "__array_ufunc__": None,
        "__await__": _refusal("awaited", "Pass it to another electron, which starts when it is ready"),
        "__reduce_ex__": _refusal("pickled or copied", "Pass it to an electron, or return it from the lattice"),
    }

    for name in ("trunc", "floor", "ceil"):
        behaviour[f"__{name}__"] = _refusal("rounded", f"Call math.{name}() inside an electron")

    for kind in ("int", "float", "complex"):
        behaviour[f"__{kind}__"] = _refusal(
            f"made {'an' if kind == 'int' else 'a'} {kind}", f"Call {kind}() inside an electron"
        )

    for name, sign in _COMPARISONS.items():
        behaviour[f"__{name}__"] = _refusal(f"compared with {sign}", "Compare inside an electron")

    for name in _OPERATORS:
        behaviour[f"__{name}__"], behaviour[f"__r{name}__"] = _binary(name)

    for name in _UNARY:
        behaviour[f"__{name}__"] = _unary(name)

    for name, method in behaviour.items():
        setattr(NodeOutput, name, method)


_equip()
