"""A transport graph under construction: where calls become nodes, and the one place where nodes get their numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from operator import itemgetter
from typing import Any

from covalent_core._compose.culprits import explain
from covalent_core._compose.outputs import NodeOutput, name_of
from covalent_core._compose.pickling import dumps
from covalent_core._model.graph import PARAMETER, POSTPROCESS, ExecutorSpec, Node, Role, TransportGraph, short
from covalent_core._runner.deps import Deps
from covalent_core.errors import GraphError


class GraphBuilder:
    """Adds nodes and edges to a graph while the function of its lattice runs.

    Attributes:
        graph: What has been built so far.
        local: The executor of this machine.
        replacements: What is called instead of electrons, by their names.
        deps: What electrons need, or what follows them, that do not say it themselves.
    """

    def __init__(
        self,
        graph: TransportGraph,
        *,
        local: ExecutorSpec,
        defaults: Mapping[str, Any],
        replacements: Mapping[str, Any],
        deps: Deps,
    ) -> None:
        """Begin with an empty graph.

        Args:
            defaults: Options of the nodes that do not set them.
        """
        self.graph = graph
        self.local = local
        self.replacements = replacements
        self.deps = deps
        self._defaults = defaults
        self._places: dict[bytes, int] = {}
        self._specs: dict[int, tuple[Any, ExecutorSpec]] = {}

    @property
    def at_work(self) -> bool:
        """Whether the function of the lattice is running."""
        return _building.get() is self

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
        node.options = json.dumps({**self._defaults, **options}, sort_keys=True)

        try:
            return self._complete_call(node, function, args, kwargs, executor)
        except BaseException:
            # Whoever goes on after a refusal finds the graph as it was.
            del self.graph.nodes[node.node_id :]
            raise

    def _complete_call(
        self, node: Node, function: Callable[..., Any], args: Any, kwargs: Any, executor: ExecutorSpec | None
    ) -> NodeOutput:
        name = node.name
        node.executor = executor or self.graph.default_executor
        self._set_function(node, function)
        args = tuple(self._argument(value, f"argument {place}", name) for place, value in enumerate(args, 1))
        kwargs = {key: self._argument(value, f"argument {key!r}", name) for key, value in kwargs.items()}
        node.call, node.call_sources = self.pickle((args, kwargs), f"the arguments of electron {name!r}")
        self.graph.edges.update((source, node.node_id) for source in node.function_sources + node.call_sources)
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
        what = f"the return value of lattice {self.graph.lattice!r}"

        if type(value) is NodeOutput:
            self.graph.result_node = self._own(value)
            return

        pickled, sources = self.pickle(value, what)

        if sources:
            # A function that brings back its only argument, and that every Python has.
            self.graph.result_node = self._add_here(
                POSTPROCESS, Role.RESULT, itemgetter(0), ((value,),), what
            )._ct_node.node_id
        else:
            self.graph.result = pickled

    def _add_here(self, name: str, role: Role, function: Callable[..., Any], args: Any, what: str) -> NodeOutput:
        """Add a node whose constants are part of its call and that needs no executor but this machine."""
        call, sources = self.pickle((args, {}), what)
        node = self._add(name, role)
        node.executor = self.local
        self._set_function(node, function)
        node.call, node.call_sources = call, sources
        self.graph.edges.update((source, node.node_id) for source in sources)
        return NodeOutput(self, node)

    def add_wait(self, child: NodeOutput, parent: NodeOutput) -> None:
        """Let `child` start only after `parent` has completed."""
        source, target = self._own(parent), self._own(child)

        if source >= target:
            raise GraphError(
                f"ct.wait: {name_of(child)} cannot wait for {name_of(parent)}, which was called later; "
                f"call it first, or the graph could have a circle"
            )

        self.graph.edges.add((source, target))

    def pickle(self, value: Any, what: str, *, is_code: bool = False) -> tuple[bytes, list[int]]:
        """Pickle `value`; return the bytes and the nodes whose outputs stand in it, in the order of their places.

        Args:
            is_code: Whether it is a function.

        Raises:
            GraphError: It cannot be pickled; `what` names it in the message.
        """
        places: dict[int, int] = {}

        def reference(obj: Any) -> int | None:
            return places.setdefault(self._own(obj), len(places)) if type(obj) is NodeOutput else None

        try:
            return dumps(value, reference, is_code=is_code), list(places)
        except GraphError:
            raise
        except Exception as error:

            def can_be_pickled(part: Any) -> bool:
                try:
                    dumps(part, reference, is_code=True)
                except Exception:
                    return False

                return True

            why = explain(value, error, can_be_pickled, is_code=is_code)
            raise GraphError(f"{what} cannot be pickled: {why}") from error

    def _add(self, name: str, role: Role) -> Node:
        node = Node(len(self.graph.nodes), name, role)
        self.graph.nodes.append(node)
        return node

    def _set_function(self, node: Node, function: Callable[..., Any]) -> None:
        # Pickled at every call: what it closes over may have changed since the last.
        with composing() if node.role == Role.SUBLATTICE else nullcontext():
            what = f"the function of electron {node.name!r}"
            data, node.function_sources = self.pickle(function, what, is_code=True)

        node.function = self._places.setdefault(data, len(self.graph.functions))

        if node.function == len(self.graph.functions):
            self.graph.functions.append(data)

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
        if output._ct_builder is not self:
            raise GraphError(
                f"{name_of(output)} belongs to another run of lattice {output._ct_builder.graph.lattice!r}; "
                f"an output can be used only in the lattice call that made it"
            )

        return output._ct_node.node_id


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


_building: ContextVar[GraphBuilder | None] = ContextVar("building", default=None)


def builder_at_work() -> GraphBuilder | None:
    """Return the builder of the lattice whose function is running, or None outside of one."""
    return _building.get()


@contextmanager
def building(builder: GraphBuilder) -> Iterator[None]:
    """Let electrons that are called within add themselves to the graph of `builder`."""
    token = _building.set(builder)

    try:
        yield
    finally:
        _building.reset(token)
