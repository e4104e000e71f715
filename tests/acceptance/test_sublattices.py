"""A lattice in a lattice: a dispatch of its own, to any depth, cancelled as one with the node that stands for it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from probes import Stops, kill_dispatcher, wait_until
from tasks import (
    any_alive,
    calls,
    failing,
    finished,
    gather,
    held,
    hold,
    let_go,
    node_named,
    note,
    quick,
    runs,
    statuses,
    tree,
)

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.store import Store
from covalent_core.errors import SublatticeNodeError

#: Where the graph of a sublattice has been built and is still to be stored, and where it has just been.
BETWEEN = ["before-sublattice", "after-sublattice"]


@ct.lattice
def bottom(folder, name):
    return held(folder, name)


@ct.lattice
def middle(folder, name):
    return gather(bottom(folder, name))


@ct.lattice
def top(folder, name):
    inner = middle(folder, name)
    return gather(inner), held(folder, "beside")


@ct.lattice
def built_slowly(folder):
    hold(folder, "building")
    return quick(folder, "inside")


@ct.lattice
def around_built_slowly(folder):
    return gather(built_slowly(folder))


@ct.lattice
def around_bottom(folder):
    note(folder, "built-outside")
    return gather(noted(folder))


@ct.lattice
def noted(folder):
    note(folder, "built")
    return held(folder, "inside")


def child_of(dispatch_id: str, node_id: int = 0) -> str:
    """Return the dispatch of a sublattice, when there is one."""
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(node_id)["sublattice_result"])
    return str(ct.get_result(dispatch_id).get_node_result(node_id)["sublattice_result"].dispatch_id)


def children_of(dispatch_id: str) -> list[str]:
    return [row.dispatch_id for row in Store(find_home()).list_dispatches(None, 100) if row.dispatch_id != dispatch_id]


def nothing_left(home: Path) -> bool:
    return not list((home / "jobs").glob("ct-*"))


# --- results -----------------------------------------------------------------------------------------------------


def test_results_come_up_from_any_depth(home: Path, tmp_path: Path) -> None:
    let_go(tmp_path, "task", "beside")
    result = ct.dispatch_sync(top)(tmp_path, "task")
    inner = result.get_node_result(0)["sublattice_result"]
    innermost = inner.get_node_result(0)["sublattice_result"]

    assert result.result == ((("task",),), "beside")
    assert result.nodes()[0] == (":sublattice:middle(0)", 0)
    assert (inner.name, inner.status, inner.result) == ("middle", Status.COMPLETED, ("task",))
    assert (innermost.name, innermost.status, innermost.result) == ("bottom", Status.COMPLETED, "task")
    assert innermost.get_node_result(0)["sublattice_result"] is None
    assert runs(tmp_path, "task") == 1

    row, _ = Store(find_home()).get_dispatch(innermost.dispatch_id)
    assert row.parent_dispatch_id == inner.dispatch_id
    assert row.parent_node_id == 0
    assert row.root_dispatch_id == result.dispatch_id


def test_a_lattice_may_call_itself(home: Path) -> None:
    @ct.electron
    def times(a, b):
        return a * b

    @ct.lattice
    def factorial(n):
        return times(n, factorial(n - 1)) if n else 1

    result = ct.dispatch_sync(factorial)(4)

    assert result.result == 24
    assert len(children_of(result.dispatch_id)) == 4


def test_outputs_and_large_values_go_in_and_out(home: Path) -> None:
    @ct.electron
    def blank(size):
        return bytes(size)

    @ct.lattice
    def twice(value):
        return {"twice": [value, value]}

    @ct.lattice
    def workflow():
        return twice(blank(100_000)), twice(blank(3))["twice"][0]

    value, small = ct.dispatch_sync(workflow)().result

    assert value == {"twice": [bytes(100_000)] * 2}
    assert small == bytes(3)


def test_the_graph_is_built_and_run_on_the_executor_of_the_sublattice_else_on_that_around_it(home: Path) -> None:
    @ct.electron
    def here():
        return os.environ["WHERE"]

    @ct.lattice(executor=ct.executor.LocalExecutor(environment={"WHERE": "own"}))
    def own():
        return os.environ["WHERE"], here()

    @ct.lattice
    def inheriting():
        return os.environ["WHERE"], here()

    @ct.lattice
    def inheriting_twice():
        return inheriting()

    @ct.lattice(executor=ct.executor.LocalExecutor(environment={"WHERE": "outer"}))
    def outer():
        return own(), inheriting(), inheriting_twice()

    assert ct.dispatch_sync(outer)().result == (("own", "own"), ("outer", "outer"), ("outer", "outer"))


def test_options_of_electrons_and_lattices_hold_inside(home: Path, tmp_path: Path) -> None:
    stubborn = ct.electron(retries=1)(failing.function)

    @ct.lattice(task_timeout=0.3)
    def inner(folder):
        held(folder, "too-long")
        return stubborn(folder, "stubborn", 1)

    @ct.lattice
    def outer(folder):
        return inner(folder)

    result = ct.dispatch_sync(outer)(tmp_path)
    child = result.get_node_result(0)["sublattice_result"]
    too_long, retried = (child.get_node_result(node_id) for node_id in calls(child))

    assert too_long["status"] == Status.FAILED
    assert "timed out after 0.3 s" in too_long["error"]
    assert not any_alive(tree(tmp_path, "too-long"))
    assert retried["status"] == Status.COMPLETED
    assert [attempt["attempt"] for attempt in retried["attempts"]] == [0]


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failure_inside_fails_the_node_and_says_where(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def inner(folder):
        return failing(folder, "wrong")

    @ct.lattice
    def outer(folder):
        return gather(inner(folder))

    result = ct.dispatch_sync(outer)(tmp_path)
    node, gathered = calls(result)
    inner_result = result.get_node_result(node)["sublattice_result"]

    assert [result.get_node_result(node)["status"], result.status] == [Status.FAILED] * 2
    assert result.get_node_result(node)["error"] == (
        f"sublattice inner (dispatch {inner_result.dispatch_id}) failed: failing(0): ValueError: wrong is not well"
    )
    assert inner_result.error == "failing(0): ValueError: wrong is not well"
    assert result.get_node_result(gathered)["status"] == Status.CANCELLED
    assert result.get_node_result(gathered)["error"] == f"upstream node {node} (:sublattice:inner) failed"


def test_a_graph_that_cannot_be_built_fails_the_node_like_a_task(home: Path) -> None:
    @ct.lattice
    def inner(value):
        return 1 if gather(value) else 2

    @ct.lattice
    def outer():
        return inner(2)

    node = ct.dispatch_sync(outer)().get_node_result(0)

    assert node["status"] == Status.FAILED
    assert "GraphError: gather(0) cannot be used as a condition in lattice 'inner'" in node["error"]
    assert node["sublattice_result"] is None


def test_names_that_cannot_be_stored_are_written_otherwise(home: Path) -> None:
    @ct.lattice
    def inner():
        return gather("half: \udc80")

    @ct.lattice
    def outer():
        return inner()

    result = ct.get_result(ct.dispatch(outer)(), wait=True, timeout=60)
    child = result.get_node_result(0)["sublattice_result"]

    assert result.result == ("half: \udc80",)
    assert child.nodes()[1] == (r":parameter:half: \udc80(1)", 1)


# --- cancels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["node", "child", "grandchild", "whole"])
def test_a_cancel_anywhere_takes_all_that_is_below(home: Path, tmp_path: Path, target: str) -> None:
    dispatch_id = ct.dispatch(top)(tmp_path, "task")
    node = 0
    child = child_of(dispatch_id)
    grandchild = child_of(child)
    task, beside = tree(tmp_path, "task"), tree(tmp_path, "beside")

    if target == "node":
        outcome = ct.cancel(dispatch_id, [node], reason="enough")
    else:
        named = {"child": child, "grandchild": grandchild, "whole": dispatch_id}[target]
        outcome = ct.cancel(named, reason="enough")

    assert outcome
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(node)["status"] == Status.CANCELLED)
    assert not any_alive(task)

    if target != "whole":
        assert any_alive(beside)
        let_go(tmp_path, "beside")

    result = finished(dispatch_id)
    every = [ct.get_result(one) for one in (dispatch_id, child, grandchild)]
    gathered = node_named(result, "gather")

    assert [one.status for one in every] == [Status.CANCELLED] * 3
    assert result.get_node_result(node)["error"] == (
        f"sublattice middle (dispatch {child}) was cancelled: :sublattice:bottom(0): enough"
        if target == "grandchild"
        else "enough"
    )
    assert result.get_node_result(gathered)["status"] == Status.CANCELLED
    assert result.get_node_result(gathered)["error"] == (
        "enough" if target == "whole" else f"upstream node {node} (:sublattice:middle) cancelled"
    )
    assert result.get_node_result(node_named(result, "held"))["output"] == (None if target == "whole" else "beside")
    assert not any_alive(beside if target == "whole" else beside[1:])
    assert every[2].get_cancellations()[0]["reason"] == "enough"
    assert nothing_left(home)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_cancelled_while_its_graph_is_being_built(home: Path, tmp_path: Path, whole: bool, killed: bool) -> None:
    dispatch_id = ct.dispatch(around_built_slowly)(tmp_path)
    building = tree(tmp_path, "building")

    if killed:
        kill_dispatcher(home)

    assert ct.cancel(dispatch_id, None if whole else [0], reason="enough")
    result = finished(dispatch_id)

    assert statuses(result) == [Status.CANCELLED] * 2
    assert result.get_node_result(0)["error"] == "enough"
    assert result.get_node_result(0)["sublattice_result"] is None
    assert not any_alive(building)
    assert children_of(dispatch_id) == []
    assert not runs(tmp_path, "inside")
    assert nothing_left(home)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("name", BETWEEN)
def test_cancelled_between_built_and_running(home: Path, tmp_path: Path, stops: Stops, name: str, killed: bool) -> None:
    stops.take(name)
    dispatch_id = ct.dispatch(around_bottom)(tmp_path)
    stops.wait(name)

    if killed:
        kill_dispatcher(home)

    assert ct.cancel(dispatch_id, [0], reason="enough")
    stops.leave(name)
    result = finished(dispatch_id)

    assert statuses(result) == [Status.CANCELLED] * 2
    assert [ct.get_result(child).status for child in children_of(dispatch_id)] == [Status.CANCELLED] * (
        name == "after-sublattice"
    )
    assert runs(tmp_path, "built") == 1
    assert not any_alive(tree(tmp_path, "inside") if runs(tmp_path, "inside") else [])
    assert nothing_left(home)


def test_the_child_cancelled_before_anything_of_it_has_started(home: Path, tmp_path: Path, stops: Stops) -> None:
    stops.take("after-sublattice")
    dispatch_id = ct.dispatch(around_bottom)(tmp_path)
    stops.wait("after-sublattice")
    # The dispatcher may take it up at its next poll already.
    stops.take("before-pickle")
    assert ct.cancel(child_of(dispatch_id), reason="enough")
    stops.leave("before-pickle")
    stops.leave("after-sublattice")
    result = finished(dispatch_id)

    assert statuses(result) == [Status.CANCELLED] * 2
    assert not runs(tmp_path, "inside")


@pytest.mark.parametrize("name", BETWEEN)
def test_killed_between_built_and_running_it_is_built_once_and_runs_once(
    home: Path, tmp_path: Path, stops: Stops, name: str
) -> None:
    let_go(tmp_path, "inside")
    stops.take(name)
    dispatch_id = ct.dispatch(around_bottom)(tmp_path)
    stops.wait(name)
    kill_dispatcher(home)
    stops.leave(name)
    result = finished(dispatch_id)

    assert result.result == ("inside",)
    assert len(children_of(dispatch_id)) == 1
    assert runs(tmp_path, "built") == runs(tmp_path, "inside") == 1
    assert nothing_left(home)


@pytest.mark.parametrize("cancelled", [False, True])
def test_killed_while_the_child_runs(home: Path, tmp_path: Path, cancelled: bool) -> None:
    dispatch_id = ct.dispatch(top)(tmp_path, "task")
    task, beside = tree(tmp_path, "task"), tree(tmp_path, "beside")
    kill_dispatcher(home)

    if cancelled:
        assert ct.cancel(dispatch_id)

    let_go(tmp_path, *(() if cancelled else ("task", "beside")))
    result = finished(dispatch_id)

    assert result.status == (Status.CANCELLED if cancelled else Status.COMPLETED), result.error
    assert result.result == (None if cancelled else ((("task",),), "beside"))
    assert not any_alive(task + beside)
    assert runs(tmp_path, "task") == 1
    assert nothing_left(home)


def test_killed_when_the_child_has_ended_and_its_node_has_not(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(around_bottom)(tmp_path)
    inside = tree(tmp_path, "inside")
    kill_dispatcher(home)
    # The task ends while nobody looks; the child, and then its node, by the next dispatcher.
    let_go(tmp_path, "inside")
    wait_until(lambda: not any_alive(inside))

    assert finished(dispatch_id).result == ("inside",)
    assert runs(tmp_path, "inside") == 1


def test_single_nodes_of_a_sublattice_cannot_be_named(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(around_bottom)(tmp_path)
    inside = tree(tmp_path, "inside")
    child = child_of(dispatch_id)

    with pytest.raises(SublatticeNodeError) as caught:
        ct.cancel(child, [0])

    assert str(caught.value) == (
        f"dispatch {child!r} is the sublattice at node 0 of dispatch {dispatch_id!r}, and single nodes of a sublattice "
        f"cannot be cancelled; cancel all of it with ct.cancel({child!r}); nothing was cancelled"
    )
    assert any_alive(inside)
    assert ct.get_result(child).get_cancellations() == []
    let_go(tmp_path, "inside")
    assert finished(dispatch_id).result == ("inside",)


def test_print_shows_a_sublattice_by_its_name_and_what_it_came_to(home: Path, tmp_path: Path) -> None:
    let_go(tmp_path, "inside")
    result = ct.dispatch_sync(around_bottom)(tmp_path)

    assert re.search(r"^:sublattice:noted\(0\): inside$", str(result), re.MULTILINE)


def test_an_electron_over_a_lattice_is_a_sublattice_with_options_of_its_own(home: Path, tmp_path: Path) -> None:
    """The electron says where and how the graph is built, the lattice what holds for the nodes in it."""
    building, inside = tmp_path / "building", tmp_path / "inside"
    building.mkdir()
    inside.mkdir()

    def folder() -> str:
        return os.getcwd()

    @ct.electron(
        executor=ct.executor.LocalExecutor(workdir=str(building)),
        retries=1,
        call_before=ct.DepsCall(lambda: "prepared", retval_keyword="prepared"),
    )
    @ct.lattice(executor=ct.executor.LocalExecutor(workdir=str(inside)))
    def sub(count, prepared):
        if not list(tmp_path.glob("tried")):
            Path(tmp_path, "tried").touch()
            raise ValueError("built when it is tried again")

        return os.getcwd(), prepared, [ct.electron(folder)() for _ in range(count)]

    @ct.lattice
    def workflow():
        return gather(sub(2))

    result = finished(ct.dispatch(workflow)())
    assert result.status == Status.COMPLETED, result.error
    assert result.result == ((str(building), "prepared", [str(inside)] * 2),)
    node_id = node_named(result, ":sublattice:sub")
    node = result.get_node_result(node_id)
    assert (node["attempt"], node["sublattice_result"].status) == (1, Status.COMPLETED)


def test_a_cancelled_electron_over_a_lattice_takes_the_whole_of_it_along(home: Path, tmp_path: Path) -> None:
    sub = ct.electron(bottom)

    @ct.lattice
    def workflow():
        return gather(sub(tmp_path, "task"))

    dispatch_id = ct.dispatch(workflow)()
    processes = tree(tmp_path, "task")
    node_id = node_named(ct.get_result(dispatch_id), ":sublattice:bottom")
    assert ct.cancel(dispatch_id, node_id, wait=True)

    assert not any_alive(processes)
    child = ct.get_result(dispatch_id).get_node_result(node_id)["sublattice_result"]
    assert child.status == Status.CANCELLED


def test_what_the_electrons_of_a_lattice_need_may_be_said_once(home: Path) -> None:
    def say(word):
        print(word)
        return word

    own = ct.electron(call_before=[ct.DepsCall(say, ["own"], retval_keyword="word")])(lambda word: word)
    plain = ct.electron(lambda word: word)

    @ct.lattice(
        deps_bash="echo shell",
        call_before=[ct.DepsCall(say, [word], retval_keyword="word") for word in ("first", "second")],
        call_after=[lambda: print("after")],
    )
    def workflow():
        return own(), plain()

    result = finished(ct.dispatch(workflow)())
    # Several calls of one keyword give a list.
    assert result.result == ("own", ["first", "second"]), result.error
    outputs = [result.get_node_result(node_id)["stdout"] for name, node_id in result.nodes() if "lambda" in name]
    assert outputs == ["shell\nown\nafter\n", "shell\nfirst\nsecond\nafter\n"]
