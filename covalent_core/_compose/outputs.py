"""The outputs of electrons before there are any: stand-ins, and what can be done with them in a lattice."""

from __future__ import annotations

import builtins
import dis
import inspect
import operator
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, Protocol

from covalent_core._model.graph import Node, TransportGraph, short
from covalent_core.errors import GraphError

_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow and or xor lshift rshift".split()
_UNARY = "neg pos invert abs".split()
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

_INSIDE = "Do it inside an electron"
_CHANGE = "Electrons return new values; change it inside an electron"

#: What needs the value, which is not there yet: what an output cannot be, and what to do instead.
_REFUSED = {
    "bool": ("used as a condition", "Put the if inside an electron"),
    "len": ("measured with len()", "Call len() inside an electron"),
    "contains": ("searched with 'in'", _INSIDE),
    "call": ("called", "Calling a method or a function it returned needs an electron of its own"),
    "str": ("made a string", "Format it inside an electron"),
    "format": ("formatted", "Format it inside an electron"),
    "index": ("made an index", _INSIDE),
    "int": ("made an int", "Call int() inside an electron"),
    "float": ("made a float", "Call float() inside an electron"),
    "complex": ("made a complex", "Call complex() inside an electron"),
    "trunc": ("rounded", "Call math.trunc() inside an electron"),
    "floor": ("rounded", "Call math.floor() inside an electron"),
    "ceil": ("rounded", "Call math.ceil() inside an electron"),
    "reversed": ("iterated over", "Reverse it inside an electron"),
    "setitem": ("changed", _CHANGE),
    "delitem": ("changed", _CHANGE),
    "delattr": ("changed", _CHANGE),
    "enter": ("entered with 'with'", _INSIDE),
    "exit": ("entered with 'with'", _INSIDE),
    "next": ("iterated over", "Call next() inside an electron"),
    "fspath": ("made a path", _INSIDE),
    "await": ("awaited", "Pass it to another electron, which starts when it is ready"),
    "reduce_ex": ("pickled or copied", "Pass it to an electron, or return it from the lattice"),
    **{name: (f"compared with {sign}", "Compare inside an electron") for name, sign in _COMPARISONS.items()},
}


class Builder(Protocol):
    """What an output needs of the builder that it belongs to.

    Attributes:
        at_work: Whether the function of its lattice is running.
    """

    graph: TransportGraph

    @property
    def at_work(self) -> bool: ...
    def add_operation(self, name: str, function: Callable[..., Any], *args: Any) -> NodeOutput: ...
    def add_wait(self, child: NodeOutput, parent: NodeOutput) -> None: ...


class NodeOutput:
    """What calling an electron in a lattice gives: a stand-in for the output that the node will have."""

    __slots__ = ("_ct_builder", "_ct_node")

    #: Without this, an array on the left would compute with the stand-in, one node an element.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, builder: Builder, node: Node) -> None:
        self._ct_builder = builder
        self._ct_node = node

    def __repr__(self) -> str:
        return f"<output of {name_of(self)}>"

    def wait_for(self, parents: Any) -> NodeOutput:
        """Let this node start only after others have completed, though it takes nothing from them; see `ct.wait`.

        Args:
            parents: The output of another electron, or several of them.

        Returns:
            This output.

        Raises:
            GraphError: One of them is not the output of an electron of this lattice.
        """
        every = list(parents) if isinstance(parents, (list, tuple, set, frozenset)) else [parents]

        for output in every:
            if not isinstance(output, NodeOutput):
                raise GraphError(
                    f"ct.wait takes the outputs of electrons, not {short(output)} ({type(output).__name__})"
                )

        for parent in every:
            self._ct_builder.add_wait(self, parent)

        return self

    def __getitem__(self, key: Any) -> NodeOutput:
        return _operation(self, f":getitem:{short(key)}", operator.getitem, self, key)

    def __getattr__(self, name: str) -> NodeOutput:
        # Interpreters and notebooks probe objects for these; a probe must not become a node.
        if name.startswith(("__", "_repr_", "_ipython_")):
            raise AttributeError(name)

        return _operation(self, f":getattr:{name}", getattr, self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_ct_"):
            _refuse(self, "changed", _CHANGE)

        object.__setattr__(self, name, value)

    def __iter__(self) -> Iterator[NodeOutput]:
        count = _unpacked_by(inspect.currentframe())

        if count is None:
            _refuse(self, "iterated over", "Loop inside an electron, or unpack a known number: a, b = e")

        items = _operation(self, f":unpack:{count}", _unpack, self, count)
        return iter([items[place] for place in range(count)])

    def __round__(self, *digits: Any) -> NodeOutput:
        return _operation(self, ":round:", round, self, *digits)


def name_of(output: NodeOutput) -> str:
    """Return a node as users see it: ``name(id)``."""
    return f"{output._ct_node.name}({output._ct_node.node_id})"


def _operation(output: NodeOutput, name: str, function: Callable[..., Any], *args: Any) -> NodeOutput:
    builder = output._ct_builder

    if not builder.at_work:
        lattice = builder.graph.lattice
        raise GraphError(f"{name_of(output)} can be used only while its lattice {lattice!r} is being built")

    return builder.add_operation(name, function, *args)


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
    where = f"in lattice {output._ct_builder.graph.lattice!r}"
    raise GraphError(
        f"{name_of(output)} cannot be {what} {where}: its value is known only after it has run. {instead}."
    )


def _refusal(what: str, instead: str) -> Callable[..., Any]:
    def refuse(self: NodeOutput, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse(self, what, instead)

    return refuse


def _equip() -> None:
    """Give `NodeOutput` the operators that it takes part in, and the refusals of the others."""
    for name, (what, instead) in _REFUSED.items():
        setattr(NodeOutput, f"__{name}__", _refusal(what, instead))

    for name in _UNARY:
        setattr(NodeOutput, f"__{name}__", _unary(name))

    for name in _OPERATORS:
        forward, reflected = _binary(name)
        setattr(NodeOutput, f"__{name}__", forward)
        setattr(NodeOutput, f"__r{name}__", reflected)


_equip()
