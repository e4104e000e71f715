"""The walk of a dispatch, apart from any store: what a failure costs."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from covalent_core._dispatch.walk import Walk
from covalent_core._model.graph import Role
from covalent_core._model.status import Status
from covalent_core._store.reading import StoredDispatch
from covalent_core._store.transitions import NodeEnd


def row(node_id: int, role: Role) -> Any:
    status = Status.COMPLETED if role == Role.PARAMETER else Status.RUNNING
    kept = {"function": 0, "function_sources": "[]", "call": b"", "call_sources": "[]", "executor_id": None}
    counts = {"options": "{}", "output": None, "attempt": 0, "jobs": 0, "not_before": None, "error": None, "step": None}
    return SimpleNamespace(node_id=node_id, name=f"n{node_id}", role=role, status=status, **kept, **counts)


def walk_of(count: int) -> Walk:
    """Return the walk of tasks with a parameter each, whose outputs are returned together."""
    nodes = [row(place, Role.TASK if place < count else Role.PARAMETER) for place in range(2 * count)]
    nodes.append(row(2 * count, Role.RESULT))
    edges = [(count + place, place) for place in range(count)] + [(place, 2 * count) for place in range(count)]
    kept = {
        "dispatch_id": "d",
        "name": "l",
        "parent_dispatch_id": None,
        "parent_node_id": None,
        "timeout": None,
        "pack": "null",
    }
    nothing: Any = None
    return Walk(
        StoredDispatch(SimpleNamespace(**kept), nodes, edges, {}, {}, [], [], {}),  # type: ignore[arg-type]
        *(nothing,) * 5,
    )


def seconds_to_fail(count: int) -> float:
    walk, started = walk_of(count), time.process_time()

    for node_id in range(count):
        ends, again = walk.settle([NodeEnd(node_id, Status.FAILED, "no")])

        assert [end.node_id for end in ends] == [node_id, 2 * count]
        assert not again

    return time.process_time() - started


def test_if_four_times_as_many_fail_it_takes_no_more_than_a_few_times_as_long() -> None:
    few, many = (min(seconds_to_fail(count) for _ in range(3)) for count in (500, 2_000))

    assert many < 9 * few
