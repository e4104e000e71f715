"""Dispatch a lattice again, running only what has no output yet or would have another one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from covalent_core._compose.electron import Electron
from covalent_core._compose.lattice import Lattice
from covalent_core._compose.pickling import loads
from covalent_core._compose.signature import Computation, signatures
from covalent_core._model.graph import Role, TransportGraph, short
from covalent_core._model.job import Value
from covalent_core._model.status import Status
from covalent_core.errors import DispatchError, GraphError

if TYPE_CHECKING:
    from covalent_core._store.store import Store


def read_lattice(
    store: Store, dispatch_id: str, edited: Lattice[Any, Any] | None
) -> tuple[Lattice[Any, Any], Any, Any]:
    """Return the lattice of a dispatch with the arguments it was dispatched with.

    Args:
        edited: What takes the place of the lattice.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        DispatchError: It is that of a sublattice.
    """
    row, _ = store.get_dispatch(dispatch_id)

    if row.parent_dispatch_id is not None:
        raise DispatchError(
            f"dispatch {dispatch_id!r} is the sublattice at node {row.parent_node_id} of dispatch "
            f"{row.parent_dispatch_id!r} and cannot be dispatched by itself; redispatch {row.root_dispatch_id!r}"
        )

    args, kwargs = loads(store.values.read(row.call), _no_reference)
    return edited or loads(store.values.read(row.lattice), _no_reference), args, kwargs


def check_lattice(lattice: Any) -> None:
    """Raise GraphError if what is to take the place of a lattice is none."""
    if lattice is not None and not isinstance(lattice, Lattice):
        raise GraphError(f"lattice is {short(lattice)}, expected a lattice; decorate the function with @ct.lattice")


def check_replacements(replacements: Any) -> dict[str, Electron[Any, Any]]:
    """Return electrons by the names of those that they replace; plain functions become electrons.

    Raises:
        GraphError: One is neither.
    """
    if isinstance(replacements, Lattice):
        raise GraphError(
            f"replace_electrons takes electrons by their names, not lattice {replacements.name!r}; to dispatch an "
            f"edited lattice, write lattice={replacements.name}"
        )

    if not isinstance(replacements, Mapping):
        raise GraphError(f"replace_electrons takes electrons by their names, not {short(replacements)}")

    found = {}

    for name, replacement in replacements.items():
        if not callable(replacement) or isinstance(replacement, Lattice):
            raise GraphError(f"replace_electrons[{name!r}] is {short(replacement)}, expected an electron or a function")

        found[name] = replacement if isinstance(replacement, Electron) else Electron(replacement)

    return found


def check_names(graph: TransportGraph, replacements: Mapping[str, Any]) -> None:
    """Raise GraphError if an electron was to be replaced that the graph does not have."""
    names = {node.name for node in graph.nodes if node.role == Role.TASK}
    unknown = sorted(set(replacements) - names)

    # Whether a sublattice has it shows only when its graph is built.
    if unknown and not any(node.role == Role.SUBLATTICE for node in graph.nodes):
        raise GraphError(
            f"lattice {graph.lattice!r} has no electron {', '.join(map(repr, unknown))} to replace; "
            f"it has: {', '.join(sorted(names))}"
        )


def reusable(store: Store, dispatch_id: str, graph: TransportGraph) -> dict[int, Row[Any]]:
    """Return the nodes of a dispatch that stand for nodes of a new graph: same function, inputs and upstream."""
    _, rows = store.get_dispatch(dispatch_id)
    ended = defaultdict(list)

    for node_id, signature in signatures(_stored(store, dispatch_id, rows)).items():
        row = rows[node_id]

        if row.status == Status.COMPLETED and row.role != Role.PARAMETER:
            ended[signature].append(row)

    found = {}

    for node_id, signature in sorted(signatures(_built(graph)).items()):
        if ended[signature]:
            found[node_id] = ended[signature].pop(0)

    return found


def _built(graph: TransportGraph) -> dict[int, Computation]:
    needs = defaultdict(list)

    for source, target in graph.edges:
        needs[target].append(source)

    return {
        node.node_id: Computation(
            node.value if node.function is None else graph.functions[node.function],  # type: ignore[arg-type]
            node.call or b"",
            node.function_sources + node.call_sources,
            needs[node.node_id],
        )
        for node in graph.nodes
    }


def _stored(store: Store, dispatch_id: str, rows: list[Row[Any]]) -> dict[int, Computation]:
    functions, needs = store.get_functions(dispatch_id), store.get_needs(dispatch_id)
    read: Callable[[Value], bytes] = store.values.read
    return {
        row.node_id: Computation(
            read(row.output if row.function is None else functions[row.function]),
            b"" if row.call is None else read(row.call),
            json.loads(row.function_sources) + json.loads(row.call_sources),
            needs.get(row.node_id, []),
        )
        for row in rows
    }


def _no_reference(place: int) -> None:
    raise AssertionError(f"a lattice names the output {place}")
