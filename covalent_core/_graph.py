"""The transport graph: what a lattice becomes. Pure data, and the one place where nodes get their numbers."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from covalent_core._pickling import dumps
from covalent_core.errors import GraphError

PARAMETER = ":parameter:"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxdict = 8


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor as the store keeps it: the entry point's name and the options as JSON, keys sorted."""

    name: str
    options: str = "{}"


@dataclass
class Node:
    """One vertex: a call of a function, or a parameter whose value is known from the start."""

    node_id: int
    name: str
    function: int | None = None
    call: bytes | None = None
    value: bytes | None = None
    executor: ExecutorSpec | None = None


class NodeOutput:
    """What calling an electron in a lattice gives: a stand-in for the output that the node will have."""

    __slots__ = ("_ct_graph", "_ct_node")

    def __init__(self, graph: TransportGraph, node: Node) -> None:
        self._ct_graph = graph
        self._ct_node = node


@dataclass
class TransportGraph:
    """Nodes and edges in the order in which the lattice made them.

    Attributes:
        lattice: The name of the lattice.
        functions: The pickled functions; nodes name them by their place, so one that is called often is kept once.
        edges: ``(source, target)``: the target needs the source to have completed.
        result: The pickled return value of the lattice, with persistent ids for outputs.
    """

    lattice: str
    default_executor: ExecutorSpec
    nodes: list[Node] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    result: bytes = b""
    _places: dict[bytes, int] = field(default_factory=dict, repr=False)
    _specs: dict[int, tuple[Any, ExecutorSpec]] = field(default_factory=dict, repr=False)

    def add_call(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: Any, executor: ExecutorSpec | None
    ) -> NodeOutput:
        """Add the node of one call, then a parameter for each argument that holds no output of another node.

        Raises:
            GraphError: The function or an argument cannot be pickled.
        """
        node = self._add(name)

        try:
            return self._complete_call(node, function, args, kwargs, executor)
        except BaseException:
            # Whoever goes on after a refusal finds the graph as it was.
            del self.nodes[node.node_id :]
            raise

    def _complete_call(
        self, node: Node, function: Callable[..., Any], args: Any, kwargs: Any, executor: ExecutorSpec | None
    ) -> NodeOutput:
        name = node.name
        node.executor = executor or self.default_executor
        node.function, sources = self._function(function, name)
        args = tuple(self._argument(value, f"argument {place}", name) for place, value in enumerate(args, 1))
        kwargs = {key: self._argument(value, f"argument {key!r}", name) for key, value in kwargs.items()}
        node.call, more = self.pickle((args, kwargs), f"the arguments of electron {name!r}")
        self.edges.update((source, node.node_id) for source in sources | more)
        return NodeOutput(self, node)

    def spec_of(self, executor: Any, describe: Callable[[Any], ExecutorSpec]) -> ExecutorSpec:
        """Return what `describe` says of an executor, asking once a graph."""
        if id(executor) not in self._specs:
            # The executor is kept as well: while it lives, nothing else can have its id.
            self._specs[id(executor)] = executor, describe(executor)

        return self._specs[id(executor)][1]

    def add_operation(self, name: str, function: Callable[..., Any], *args: Any) -> NodeOutput:
        """Add a node that takes an output apart or computes with it; its constants are part of the call."""
        call, sources = self.pickle((args, {}), f"the operand of {name!r}")
        node = self._add(name)
        node.executor = self.default_executor
        node.function, _ = self._function(function, name)
        node.call = call
        self.edges.update((source, node.node_id) for source in sources)
        return NodeOutput(self, node)

    def add_wait(self, child: NodeOutput, parent: NodeOutput) -> None:
        """Let `child` start only after `parent` has completed."""
        source, target = self._own(parent), self._own(child)

        if source >= target:
            raise GraphError(
                f"ct.wait: {name_of(child)} cannot wait for {name_of(parent)}, which was called later; "
                f"call it first, or the graph could have a circle"
            )

        self.edges.add((source, target))

    def pickle(self, value: Any, what: str) -> tuple[bytes, set[int]]:
        """Pickle `value`; return the bytes and the nodes whose outputs stand in it.

        Raises:
            GraphError: It cannot be pickled; `what` names it in the message.
        """
        sources: set[int] = set()

        def reference(obj: Any) -> int | None:
            if type(obj) is not NodeOutput:
                return None

            sources.add(self._own(obj))
            return obj._ct_node.node_id

        try:
            return dumps(value, reference), sources
        except GraphError:
            raise
        except Exception as error:
            raise GraphError(
                f"{what} cannot be pickled: {error}; pass plain data instead, or create the object inside the electron"
            ) from error

    def _add(self, name: str) -> Node:
        node = Node(len(self.nodes), name)
        self.nodes.append(node)
        return node

    def _function(self, function: Callable[..., Any], name: str) -> tuple[int, set[int]]:
        # Pickled at every call: what it closes over may have changed since the last.
        data, sources = self.pickle(function, f"the function of electron {name!r}")
        place = self._places.setdefault(data, len(self.functions))

        if place == len(self.functions):
            self.functions.append(data)

        return place, sources

    def _argument(self, value: Any, place: str, electron: str) -> Any:
        if type(value) is NodeOutput:
            return value

        data, sources = self.pickle(value, f"{place} of electron {electron!r}")

        if sources:
            return value

        parameter = self._add(PARAMETER + short(value))
        parameter.value = data
        return NodeOutput(self, parameter)

    def _own(self, output: NodeOutput) -> int:
        if output._ct_graph is not self:
            raise GraphError(
                f"{name_of(output)} belongs to another run of lattice {output._ct_graph.lattice!r}; "
                f"an output can be used only in the lattice call that made it"
            )

        return output._ct_node.node_id


def name_of(output: NodeOutput) -> str:
    """Return a node as users see it: ``name(id)``."""
    return f"{output._ct_node.name}({output._ct_node.node_id})"


def short(value: Any) -> str:
    """Return a value as a name can show it: bounded, on one line."""
    if isinstance(value, (str, bytes, bytearray)):
        value = value[:100]

    try:
        text = value if isinstance(value, str) else _short.repr(value)
    except Exception:
        text = object.__repr__(value)

    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


_building: ContextVar[TransportGraph | None] = ContextVar("building", default=None)


def graph_being_built() -> TransportGraph | None:
    """Return the graph of the lattice whose function is running, or None outside of one."""
    return _building.get()


@contextmanager
def building(graph: TransportGraph) -> Iterator[None]:
    """Let electrons that are called within add themselves to `graph`."""
    token = _building.set(graph)

    try:
        yield
    finally:
        _building.reset(token)
