"""What a job carries, out of the store: the calls of its tasks with their inputs, and its payload."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from covalent_core._dispatch.graph import WalkNode
from covalent_core._model.graph import Role
from covalent_core._model.job import TaskCall, Value
from covalent_core._store.values import Values


def task_call(
    node: WalkNode, nodes: Mapping[int, WalkNode], functions: Mapping[int, Value], values: Values
) -> TaskCall:
    """Return the call that a node is, with what it takes from the nodes before it."""
    assert node.function is not None and node.call is not None
    inputs = {source: nodes[source].output for source in {*node.function_sources, *node.call_sources}}
    return TaskCall(
        node.node_id,
        node.name,
        values.resolve(functions[node.function]),
        values.resolve(node.call),
        node.function_sources,
        node.call_sources,
        {source: values.resolve(value) for source, value in inputs.items() if value is not None},
        sorted(node.sources),
        node.attempt,
        node.options.get("timeout"),
        node.options.get("fresh", False),
        node.role == Role.SUBLATTICE,
    )


def open_payload(folder: Path, payload: Value) -> bytes | memoryview:
    """Return a payload that is kept in the home at `folder`, a memory-mapped view where it is large."""
    if isinstance(payload, bytes):
        return payload

    with open(folder / Path(payload), "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
