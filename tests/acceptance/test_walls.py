"""What belongs to one dispatch ends that dispatch, and the dispatcher goes on with those of everybody else."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from probes import dispatchers_of
from tasks import any_alive, calls, finished, gather, held, node_named, quick, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._model.graph import ExecutorSpec, Role
from covalent_core._store.rows import NewDispatch
from covalent_core._store.store import Store


@ct.electron
def fail_beside(folder: Path, name: str) -> None:
    """Fail when another task has begun."""
    while not (folder / name).exists() or not (folder / name).stat().st_size:
        time.sleep(0.002)

    raise ValueError("not well")


@ct.lattice
def small(folder: Path) -> Any:
    return gather(quick(folder, "small"))


@ct.lattice(executor=ct.executor.LocalExecutor(max_workers=3))
def wide(folder: Path) -> Any:
    return held(folder, "held"), fail_beside(folder, "held")


@ct.lattice
def inside(folder: Path) -> Any:
    return held(folder, "held")


@ct.lattice(executor=ct.executor.LocalExecutor(max_workers=3))
def around(folder: Path) -> Any:
    return inside(folder), fail_beside(folder, "held")


def others_go_on(home: Path, folder: Path) -> None:
    """Fail unless another dispatch is carried out, by the dispatcher that was there before, and nothing is left."""
    before = dispatchers_of(home)

    assert len(before) == 1
    assert finished(ct.dispatch(small)(folder)).status == Status.COMPLETED
    assert dispatchers_of(home) == before
    assert not list((home / "jobs").glob("ct-*"))


def store(lattice: Any, *args: Any) -> str:
    """Store a dispatch for a dispatcher to come."""
    return Store(find_home()).add_dispatch(NewDispatch(lattice.build_graph(*args), "a client"))


def change(home: Path, statement: str, *values: Any) -> None:
    """Change the store behind the back of everybody."""
    connection = sqlite3.connect(home / "store.sqlite")

    with connection:
        connection.execute(statement, values)

    connection.close()


def errors_of(result: ct.Result) -> set[tuple[Status, str]]:
    nodes = [result.get_node_result(node_id) for node_id in calls(result)]
    return {(node["status"], node["error"]) for node in nodes}


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", ['{"max_workers": -1}', '{"max_workers": 0}', '{"pack": -5}', '{"grace": "x"}', "7"]
)
def test_an_executor_in_the_store_whose_options_do_not_fit_fails_its_node(
    home: Path, tmp_path: Path, options: str
) -> None:
    graph = small.build_graph(tmp_path)

    for node in graph.nodes:
        node.executor = None if node.role == Role.PARAMETER else ExecutorSpec("local", options)

    result = finished(Store(find_home()).add_dispatch(NewDispatch(graph, "a client")))

    assert result.status == Status.FAILED
    assert "failed in 'pickle'" in result.get_node_result(0)["error"]
    others_go_on(home, tmp_path)


def test_an_executor_from_a_far_side_whose_options_do_not_fit_fails_its_node(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def bad() -> Any:
        return ct.electron(executor=ExecutorSpec("local", '{"max_workers": -1}'))(abs)(-1)

    @ct.lattice
    def outer() -> Any:
        return bad()

    result = finished(ct.dispatch(outer)())

    assert result.status == Status.FAILED
    assert "max_workers is -1, expected a whole number from 1 on" in result.get_node_result(0)["error"]
    others_go_on(home, tmp_path)


# --- what comes back ----------------------------------------------------------------------------------------------


def test_an_outcome_that_the_store_does_not_take_fails_its_node(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def hostile() -> None:
        worker: Any = sys.modules["covalent_runner.worker"]
        sound = worker.record_of

        def record_of(*_: Any, **__: Any) -> bytes:
            worker.record_of = sound
            header = b'{"status": "COMPLETED", "error": {"a": 1}, "started": 0, "ended": 0, "stdout": "", "stderr": ""'
            return header + b', "file": false}\n'

        worker.record_of = record_of

    @ct.lattice
    def bad() -> Any:
        return hostile()

    result = finished(ct.dispatch(bad)())

    assert result.status == Status.FAILED
    assert result.get_node_result(0)["error"] == (
        "what has come back is not an outcome: error is {'a': 1}, expected text or null"
    )
    others_go_on(home, tmp_path)


# --- what nobody has foreseen -------------------------------------------------------------------------------------


def test_a_dispatch_that_cannot_be_read_fails(home: Path, tmp_path: Path) -> None:
    dispatch_id = store(small, tmp_path)
    change(home, "UPDATE nodes SET options = '{' WHERE dispatch_id = ?", dispatch_id)
    result = finished(dispatch_id)

    assert result.status == Status.FAILED
    assert str(result.error).startswith("the dispatcher cannot take it up: JSONDecodeError: ")
    assert errors_of(result) == {(Status.CANCELLED, result.error)}
    others_go_on(home, tmp_path)


def test_a_sublattice_that_cannot_be_read_fails_its_node(home: Path, tmp_path: Path) -> None:
    dispatch_id = store(around, tmp_path)
    change(
        home,
        "CREATE TRIGGER spoil AFTER INSERT ON nodes BEGIN "
        "UPDATE nodes SET options = '{' WHERE dispatch_id = NEW.dispatch_id; END",
    )
    (tmp_path / "held").write_text("has begun")
    result = finished(dispatch_id)

    assert result.status == Status.FAILED
    assert "JSONDecodeError" in result.get_node_result(0)["error"]
    change(home, "DROP TRIGGER spoil")
    others_go_on(home, tmp_path)


def test_a_dispatch_whose_walk_fails_at_its_beginning_fails(home: Path, tmp_path: Path) -> None:
    dispatch_id = store(small, tmp_path)
    change(home, "DELETE FROM functions WHERE dispatch_id = ?", dispatch_id)
    result = finished(dispatch_id)

    assert result.status == Status.FAILED
    assert str(result.error).startswith("the dispatcher cannot go on: taking it up: KeyError: ")
    assert errors_of(result) == {(Status.CANCELLED, result.error)}
    others_go_on(home, tmp_path)


@pytest.mark.parametrize("lattice", [wide, around], ids=["task", "sublattice"])
def test_a_dispatch_whose_walk_fails_later_ends_what_runs_and_fails(home: Path, tmp_path: Path, lattice: Any) -> None:
    dispatch_id = store(lattice, tmp_path)
    change(
        home,
        """UPDATE nodes SET options = '{"retries": "x"}' WHERE dispatch_id = ? AND name = 'fail_beside'""",
        dispatch_id,
    )
    result = finished(dispatch_id)

    assert result.status == Status.FAILED
    assert str(result.error).startswith("the dispatcher cannot go on: carrying out job ct-")
    assert "TypeError: '<' not supported between instances of 'int' and 'str'" in str(result.error)
    assert result.get_node_result(node_named(result, "fail_beside"))["status"] == Status.FAILED
    assert result.get_node_result(calls(result)[0])["status"] in (Status.FAILED, Status.CANCELLED)
    assert all(node["status"].terminal for node in map(result.get_node_result, calls(result)))
    assert not any_alive(tree(tmp_path, "held"))
    others_go_on(home, tmp_path)
