"""The transport graph: what a lattice becomes. Pure data, and the one place where nodes get their numbers."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from operator import itemgetter
from typing import Any

from covalent_core._pickling import dumps
from covalent_core.errors import GraphError

PARAMETER = ":parameter:"
SUBLATTICE = ":sublattice:"
POSTPROCESS = ":postprocess:"

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxdict = 8


@dataclass(frozen=True)
class ExecutorSpec:
    """An executor as the store keeps it: the entry point's name and the options as JSON, keys sorted."""

    name: str
    options: str = "{}"


class Role(str, Enum):
    """What a node is for. The members are strings."""

    #: A call of an electron.
    TASK = "task"
    #: An argument whose value is known from the start.
    PARAMETER = "parameter"
    #: Takes outputs apart or computes with them; cheap, so it runs with the node whose output it needs.
    OPERATION = "operation"
    #: A lattice called in a lattice: builds the graph of a dispatch of its own.
    SUBLATTICE = "sublattice"
    #: Builds the return value of the lattice from outputs.
    RESULT = "result"


@dataclass
class Node:
    """One vertex: a call of a function, or a parameter whose value is known from the start.

    Attributes:
        function_sources: The nodes whose outputs stand in the pickled function, where it has the persistent ids 0, 1, …
        call_sources: As `function_sources`, for the pickled arguments. That the pickles name places and not nodes makes
            equal calls equal bytes wherever they stand in a graph.
        options: What the user has set of retries, retry_delay, timeout and grace, as JSON.
    """

    node_id: int
    name: str
    role: Role = Role.TASK
    function: int | None = None
    function_sources: list[int] = field(default_factory=list)
    call: bytes | None = None
    call_sources: list[int] = field(default_factory=list)
    value: bytes | None = None
    executor: ExecutorSpec | None = None
    options: str = "{}"


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
        result: The pickled return value of the lattice where it holds no output.
        result_node: The node whose output is the return value, where it does.
        defaults: Options of the nodes that do not set them.
        replacements: What is called instead of electrons, by their names.
        settings: Of the dispatch: timeout and pack, and of a sublattice how its args and kwargs are shown.
    """

    lattice: str
    default_executor: ExecutorSpec
    local: ExecutorSpec = field(default_factory=lambda: ExecutorSpec("local"))
    defaults: Mapping[str, Any] = field(default_factory=dict)
    replacements: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    result: bytes | None = None
    result_node: int | None = None
    _places: dict[bytes, int] = field(default_factory=dict, repr=False)
    _specs: dict[int, tuple[Any, ExecutorSpec]] = field(default_factory=dict, repr=False)

    def add_call(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        executor: ExecutorSpec | None,
        options: Mapping[str, Any],
        role: Role = Role.TASK,
    ) -> NodeOutput:
        """Add the node of one call, then a parameter for each argument that holds no output of another node.

        Raises:
            GraphError: The function or an argument cannot be pickled.
        """
        node = self._add(name, role)
        node.options = json.dumps({**self.defaults, **options}, sort_keys=True)

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
        self._set_function(node, function)
        args = tuple(self._argument(value, f"argument {place}", name) for place, value in enumerate(args, 1))
        kwargs = {key: self._argument(value, f"argument {key!r}", name) for key, value in kwargs.items()}
        node.call, node.call_sources = self.pickle((args, kwargs), f"the arguments of electron {name!r}")
        self.edges.update((source, node.node_id) for source in node.function_sources + node.call_sources)
        return NodeOutput(self, node)

    def spec_of(self, executor: Any, describe: Callable[[Any], ExecutorSpec]) -> ExecutorSpec:
        """Return what `describe` says of an executor, asking once a graph."""
        if id(executor) not in self._specs:
            # The executor is kept as well: while it lives, nothing else can have its id.
            self._specs[id(executor)] = executor, describe(executor)

        return self._specs[id(executor)][1]

    def add_operation(self, name: str, function: Callable[..., Any], *args: Any) -> NodeOutput:
        """Add a node that takes an output apart or computes with it; its constants are part of the call."""
        return self._add_here(name, Role.OPERATION, function, args, f"the operand of {name!r}")

    def set_result(self, value: Any) -> None:
        """Say what the lattice returns; where outputs are part of it, a node puts them together.

        Raises:
            GraphError: It cannot be pickled.
        """
        what = f"the return value of lattice {self.lattice!r}"

        if type(value) is NodeOutput:
            self.result_node = self._own(value)
            return

        pickled, sources = self.pickle(value, what)

        if sources:
            # A function that brings back its only argument, and that every Python has.
            self.result_node = self._add_here(
                POSTPROCESS, Role.RESULT, itemgetter(0), ((value,),), what
            )._ct_node.node_id
        else:
            self.result = pickled

    def _add_here(self, name: str, role: Role, function: Callable[..., Any], args: Any, what: str) -> NodeOutput:
        """Add a node whose constants are part of its call and that needs no executor but this machine."""
        call, sources = self.pickle((args, {}), what)
        node = self._add(name, role)
        node.executor = self.local
        self._set_function(node, function)
        node.call, node.call_sources = call, sources
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

    def pickle(self, value: Any, what: str) -> tuple[bytes, list[int]]:
        """Pickle `value`; return the bytes and the nodes whose outputs stand in it, in the order of their places.

        Raises:
            GraphError: It cannot be pickled; `what` names it in the message.
        """
        places: dict[int, int] = {}

        def reference(obj: Any) -> int | None:
            return places.setdefault(self._own(obj), len(places)) if type(obj) is NodeOutput else None

        try:
            return dumps(value, reference), list(places)
        except GraphError:
            raise
        except Exception as error:
            raise GraphError(
                f"{what} cannot be pickled: {error}; pass plain data instead, or create the object inside the electron"
            ) from error

    def _add(self, name: str, role: Role) -> Node:
        node = Node(len(self.nodes), name, role)
        self.nodes.append(node)
        return node

    def _set_function(self, node: Node, function: Callable[..., Any]) -> None:
        # Pickled at every call: what it closes over may have changed since the last.
        with composing() if node.role == Role.SUBLATTICE else nullcontext():
            data, node.function_sources = self.pickle(function, f"the function of electron {node.name!r}")

        node.function = self._places.setdefault(data, len(self.functions))

        if node.function == len(self.functions):
            self.functions.append(data)

    def _argument(self, value: Any, place: str, electron: str) -> Any:
        if type(value) is NodeOutput:
            return value

        data, sources = self.pickle(value, f"{place} of electron {electron!r}")

        if sources:
            return value

        parameter = self._add(PARAMETER + short(value), Role.PARAMETER)
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

    # Half a character, as in the name of a file that is not UTF-8, cannot be stored.
    text = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 80 else text[:77] + "..."


_composing: ContextVar[bool] = ContextVar("composing", default=False)


def is_composing() -> bool:
    """Return whether what is being pickled will be used to build a graph, so that electrons must stay electrons."""
    return _composing.get()


@contextmanager
def composing() -> Iterator[None]:
    """Let electrons that are pickled within stay electrons."""
    token = _composing.set(True)

    try:
        yield
    finally:
        _composing.reset(token)


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
