"""Attempts, pauses and time limits: what fails is tried again as often as was said, and what was cancelled never is."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from probes import Stops, dispatchers_of, kill_dispatcher, wait_until
from tasks import any_alive, calls, failing, finished, gather, held, hold, let_go, note, quick, runs, status_of, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.store import Store

#: Long enough for a test to do something in it.
PAUSE = 3.0


def trying(retries: int, **options: float) -> ct.Electron:
    return ct.electron(retries=retries, **options)(failing.function)


def passed(moment: float) -> bool:
    return time.time() > moment


def in_the_pause(dispatch_id: str) -> float:
    """Return when node 0 may start again, as soon as it waits for that."""
    store = Store(find_home())

    def row():
        return store.get_dispatch(dispatch_id)[1][0]

    wait_until(lambda: row().not_before is not None)
    return float(row().not_before)


def nothing_left(home: Path) -> bool:
    return not list((home / "jobs").glob("ct-*"))


# --- retries -----------------------------------------------------------------------------------------------------


def test_it_is_tried_again_and_every_attempt_is_kept(home: Path, tmp_path: Path) -> None:
    stubborn = trying(3)

    @ct.lattice
    def workflow(folder):
        return gather(stubborn(folder, "task", 2))

    result = ct.dispatch_sync(workflow)(tmp_path)
    node = result.get_node_result(calls(result)[0])
    first, second = node["attempts"]

    assert result.result == ("task",)
    assert runs(tmp_path, "task") == 3
    assert (node["status"], node["attempt"], node["error"]) == (Status.COMPLETED, 2, None)
    assert [first["attempt"], second["attempt"]] == [0, 1]
    assert all("ValueError: task is not well" in attempt["error"] for attempt in (first, second))
    assert all(attempt["stdout"] == "task prints\n" for attempt in (first, second))
    assert all(attempt["step"] == "run" for attempt in (first, second))
    assert first["start_time"] <= first["end_time"] <= second["start_time"] <= second["end_time"] <= node["start_time"]
    assert nothing_left(home)


def test_when_all_attempts_have_failed_it_has(home: Path, tmp_path: Path) -> None:
    stubborn = trying(2)

    @ct.lattice
    def workflow(folder):
        return gather(stubborn(folder, "task"))

    result = ct.dispatch_sync(workflow)(tmp_path)
    first, below = calls(result)
    node = result.get_node_result(first)

    assert result.status == Status.FAILED
    assert runs(tmp_path, "task") == 3
    assert (node["attempt"], len(node["attempts"])) == (2, 2)
    assert "ValueError: task is not well" in node["error"]
    assert result.get_node_result(below)["error"] == f"upstream node {first} (failing) failed"


def test_a_task_knows_its_attempt(home: Path, tmp_path: Path) -> None:
    @ct.electron(retries=1)
    def which():
        attempt = ct.current_task().attempt
        assert attempt
        return attempt

    @ct.lattice
    def workflow():
        return which()

    assert ct.dispatch_sync(workflow)().result == 1


def test_a_task_knows_until_when_its_backend_lets_it_run(home: Path) -> None:
    @ct.electron
    def deadline():
        return ct.current_task().deadline

    @ct.lattice
    def workflow():
        limited = ct.executor.LocalExecutor(environment={"COVALENT_CORE_DEADLINE": "1999999999.5"})
        return deadline(), ct.electron(deadline.function, executor=limited)()

    assert ct.dispatch_sync(workflow)().result == (None, 1999999999.5)


def test_what_follows_in_a_pack_has_an_attempt_of_its_own(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def which(value):
        return ct.current_task().attempt

    # In the pause the other is given back, so that the next job has both.
    stubborn = trying(1, retry_delay=0.2)

    @ct.lattice(pack="chain")
    def workflow(folder):
        return which(stubborn(folder, "task", 1))

    assert ct.dispatch_sync(workflow)(tmp_path).result == 0


def test_defaults_of_the_lattice_hold_where_the_electron_says_nothing(home: Path, tmp_path: Path) -> None:
    never = trying(0)

    @ct.lattice(retries=1, retry_delay=0.01, task_timeout=0.3, grace=0)
    def workflow(folder):
        failing(folder, "twice")
        never(folder, "once")
        held(folder, "late")

    result = ct.dispatch_sync(workflow)(tmp_path)
    node = next(node for name, node in result.nodes() if name.startswith("held"))

    assert [runs(tmp_path, name) for name in ("twice", "once", "late")] == [2, 1, 2]
    assert "timed out after 0.3 s" in result.get_node_result(node)["error"]
    assert json.loads(Store(find_home()).get_dispatch(result.dispatch_id)[1][node].options) == {
        "retries": 1,
        "retry_delay": 0.01,
        "timeout": 0.3,
        "grace": 0,
    }


# --- the pause ---------------------------------------------------------------------------------------------------


def test_between_two_attempts_it_waits(home: Path, tmp_path: Path) -> None:
    stubborn = trying(1, retry_delay=0.4)

    @ct.lattice
    def workflow(folder):
        return stubborn(folder, "task", 1)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    not_before = in_the_pause(dispatch_id)
    node = finished(dispatch_id).get_node_result(0)

    assert node["status"] == Status.COMPLETED
    assert node["start_time"].timestamp() >= not_before
    assert not_before >= node["attempts"][0]["end_time"].timestamp() + 0.4


@pytest.mark.parametrize("killed", [False, True])
def test_cancelled_in_the_pause_it_has_ended_at_once_and_never_runs_again(
    home: Path, tmp_path: Path, killed: bool
) -> None:
    stubborn = trying(1, retry_delay=PAUSE)

    @ct.lattice
    def workflow(folder):
        return stubborn(folder, "task", 1)

    @ct.lattice
    def another(folder):
        return quick(folder, "another")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    not_before = in_the_pause(dispatch_id)
    assert status_of(dispatch_id, 0) == Status.NEW_OBJECT

    if killed:
        kill_dispatcher(home)

    outcome = ct.cancel(dispatch_id, [0], reason="enough")
    assert [target.outcome for target in outcome.targets] == ["prevented"]
    assert status_of(dispatch_id, 0) == Status.CANCELLED
    result = finished(dispatch_id)

    if not killed:
        assert not passed(not_before), "the pause was over before anything was shown"

    # Whatever was still to come in the pause has come when a dispatch after it has been walked to its end.
    wait_until(lambda: passed(not_before + 0.1))
    assert ct.dispatch_sync(another)(tmp_path).result == "another"
    assert result.status == Status.CANCELLED
    assert runs(tmp_path, "task") == 1
    assert [attempt["attempt"] for attempt in result.get_node_result(0)["attempts"]] == [0]


def test_killed_in_the_pause_the_next_dispatcher_keeps_it(home: Path, tmp_path: Path) -> None:
    stubborn = trying(1, retry_delay=PAUSE)

    @ct.lattice
    def workflow(folder):
        return stubborn(folder, "task", 1)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    not_before = in_the_pause(dispatch_id)
    kill_dispatcher(home)
    node = finished(dispatch_id).get_node_result(0)

    assert node["output"] == "task"
    assert node["start_time"].timestamp() >= not_before
    assert [attempt["attempt"] for attempt in node["attempts"]] == [0]
    assert runs(tmp_path, "task") == 2
    assert nothing_left(home)


def test_a_pause_that_is_over_before_it_begins_is_none(home: Path, tmp_path: Path, stops: Stops) -> None:
    stubborn = trying(1, retry_delay=0.2)

    @ct.lattice
    def workflow(folder):
        return stubborn(folder, "task", 1)

    stops.take("before-pause")
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    stops.wait("before-pause")
    not_before = in_the_pause(dispatch_id)
    wait_until(lambda: passed(not_before))
    stops.leave("before-pause")

    assert finished(dispatch_id).get_node_result(0)["output"] == "task"
    assert len(dispatchers_of(home)) == 1
    assert not (home / "dispatcher.log").read_text()


def test_a_cancelled_task_is_never_tried_again(home: Path, tmp_path: Path) -> None:
    @ct.electron(retries=5)
    def stubborn(folder):
        note(folder, "task")

        while True:
            ct.checkpoint()

    @ct.electron(retries=5)
    def deaf(folder):
        signal.signal(signal.SIGTERM, lambda *_: note(folder, "heard"))
        note(folder, "deaf")

        while True:
            if Path(folder, "heard").exists():
                raise ValueError("not well")

    @ct.lattice
    def workflow(folder):
        return stubborn(folder), deaf(folder)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    tree(tmp_path, "task")
    tree(tmp_path, "deaf")
    ct.cancel(dispatch_id)
    result = finished(dispatch_id)

    for node in (result.get_node_result(node_id) for node_id in calls(result)[:2]):
        assert node["status"] == Status.CANCELLED
        assert (node["attempt"], node["attempts"]) == (0, [])

    assert runs(tmp_path, "task") == runs(tmp_path, "deaf") == 1


def test_a_task_that_cancels_itself_is_never_tried_again(home: Path, tmp_path: Path) -> None:
    @ct.electron(retries=3)
    def give_up(folder):
        note(folder, "task")
        raise ct.TaskCancelledError("nothing to do")

    @ct.lattice
    def workflow(folder):
        return give_up(folder)

    node = ct.dispatch_sync(workflow)(tmp_path).get_node_result(0)

    assert (node["status"], node["error"]) == (Status.CANCELLED, "nothing to do")
    assert node["attempts"] == []
    assert runs(tmp_path, "task") == 1


# --- time limits -------------------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_has_failed_and_its_whole_tree_is_dead(home: Path, tmp_path: Path) -> None:
    late = ct.electron(timeout=0.5)(held.function)

    @ct.lattice
    def workflow(folder):
        return gather(late(folder, "late")), quick(folder, "other")

    result = ct.dispatch_sync(workflow)(tmp_path)
    first, below, other, _ = calls(result)
    node = result.get_node_result(first)

    assert result.status == Status.FAILED
    assert node["error"] == "timed out after 0.5 s"
    assert not any_alive(tree(tmp_path, "late"))
    assert not node["cancel_requested"]
    assert result.get_node_result(below)["error"] == f"upstream node {first} (held) failed"
    assert result.get_node_result(other)["output"] == "other"


def test_a_task_that_takes_too_long_may_be_tried_again(home: Path, tmp_path: Path) -> None:
    @ct.electron(timeout=0.5, retries=1)
    def late_once(folder):
        return quick(folder, "task") if Path(folder, "task").exists() else hold(folder, "task")

    @ct.lattice
    def workflow(folder):
        return late_once(folder)

    result = ct.dispatch_sync(workflow)(tmp_path)
    node = result.get_node_result(0)

    assert node["output"] == "task"
    assert [attempt["error"] for attempt in node["attempts"]] == ["timed out after 0.5 s"]
    first = (tmp_path / "task").read_text().splitlines()[0]
    assert not any_alive([int(pid) for pid in first.split()])


def test_a_time_limit_leaves_the_task_its_grace(home: Path, tmp_path: Path) -> None:
    @ct.electron(timeout=0.3, grace=10)
    def careful(folder):
        try:
            while True:
                ct.checkpoint()
        finally:
            time.sleep(0.2)
            print("cleaned up")

    @ct.lattice
    def workflow(folder):
        return careful(folder)

    node = ct.dispatch_sync(workflow)(tmp_path).get_node_result(0)

    assert node["status"] == Status.FAILED
    assert "timed out after 0.3 s" in node["error"]
    assert node["stdout"] == "cleaned up\n"


def test_the_time_limit_of_a_task_outlives_the_dispatcher(home: Path, tmp_path: Path) -> None:
    late = ct.electron(timeout=0.5)(held.function)

    @ct.lattice
    def workflow(folder):
        return late(folder, "late")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    task = tree(tmp_path, "late")
    kill_dispatcher(home)
    # Nobody of ours is there to look at the clock but who runs it.
    wait_until(lambda: not any_alive(task))
    node = finished(dispatch_id).get_node_result(0)

    assert node["status"] == Status.FAILED
    assert node["error"] == "timed out after 0.5 s"


@pytest.mark.parametrize("killed", [False, True])
def test_a_dispatch_that_takes_too_long_is_cancelled_and_says_so(home: Path, tmp_path: Path, killed: bool) -> None:
    @ct.lattice(timeout=0.8)
    def workflow(folder):
        return gather(held(folder, "task"))

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    task = tree(tmp_path, "task")

    if killed:
        kill_dispatcher(home)
        began = ct.get_result(dispatch_id).start_time.timestamp()
        wait_until(lambda: passed(began + 0.8))

    result = finished(dispatch_id)
    (order,) = result.get_cancellations()

    assert result.status == Status.CANCELLED
    assert result.error == "timed out after 0.8 s"
    assert not any_alive(task)
    assert [result.get_node_result(node)["error"] for node in calls(result)] == ["timed out after 0.8 s"] * 2
    assert (order["client"], order["reason"], order["task_ids"]) == ("timeout", "timed out after 0.8 s", None)
    assert (order["time"] - result.start_time).total_seconds() >= 0.8


def test_a_sublattice_that_takes_too_long_is_cancelled_with_what_needs_it(home: Path, tmp_path: Path) -> None:
    @ct.lattice(timeout=0.5)
    def inner(folder):
        return held(folder, "task")

    @ct.lattice
    def outer(folder):
        return gather(inner(folder)), quick(folder, "other")

    result = ct.dispatch_sync(outer)(tmp_path)
    node, below, other, _ = calls(result)

    assert result.get_node_result(node)["status"] == Status.CANCELLED
    assert result.get_node_result(node)["error"] == "timed out after 0.5 s"
    assert result.get_node_result(below)["error"] == f"upstream node {node} (:sublattice:inner) cancelled"
    assert result.get_node_result(other)["output"] == "other"
    assert not any_alive(tree(tmp_path, "task"))


def test_a_dispatch_in_time_is_not_cancelled_afterwards(home: Path, tmp_path: Path) -> None:
    @ct.lattice(timeout=3)
    def workflow(folder):
        return quick(folder, "task")

    @ct.lattice
    def another(folder):
        return held(folder, "another")

    first = ct.dispatch_sync(workflow)(tmp_path)
    second = ct.dispatch(another)(tmp_path)
    wait_until(lambda: passed(first.start_time.timestamp() + 3.1))
    let_go(tmp_path, "another")

    assert finished(second).result == "another"
    assert finished(first.dispatch_id).status == Status.COMPLETED
    assert finished(first.dispatch_id).get_cancellations() == []


# --- grace -------------------------------------------------------------------------------------------------------


def test_the_grace_of_an_electron_comes_before_that_of_its_executor(home: Path, tmp_path: Path) -> None:
    def ignore(folder, name):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        hold(folder, name)

    def clean_up(folder, name):
        note(folder, name)

        try:
            while True:
                ct.checkpoint()
        finally:
            time.sleep(0.3)
            print("cleaned up")

    short = ct.electron(grace=0.1)(ignore)
    long = ct.electron(grace=20, executor=ct.executor.LocalExecutor(grace=0))(clean_up)

    @ct.lattice(executor=ct.executor.LocalExecutor(grace=60))
    def workflow(folder):
        return short(folder, "short"), long(folder, "long")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    ignoring = tree(tmp_path, "short")
    tree(tmp_path, "long")
    ct.cancel(dispatch_id)
    result = finished(dispatch_id)
    _, cleaned, _ = calls(result)

    assert result.status == Status.CANCELLED
    assert not any_alive(ignoring)
    assert result.get_node_result(cleaned)["stdout"] == "cleaned up\n"
