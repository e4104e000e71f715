"""Packs: one job and one handle for many nodes, of which each keeps all that is its own, its cancel too."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, kill_dispatcher, wait_until
from tasks import (
    any_alive,
    calls,
    failing,
    finished,
    gather,
    held,
    jobs_of,
    let_go,
    node_named,
    note,
    quick,
    runs,
    status_of,
    statuses,
    tree,
)

import covalent_core as ct
from covalent_core import Status

NAMES = ["a", "b", "c", "d"]

#: The steps before anything is asked of the backend, at which a job can be given up at no cost.
EARLY = ["before-pickle", "before-upload", "before-provision"]


@ct.lattice(pack=4)
def four(folder):
    """Four tasks in one job: quick, held, held, quick."""
    return [quick(folder, "a"), held(folder, "b"), held(folder, "c"), quick(folder, "d")]


@ct.electron
def die(folder: Path, name: str) -> None:
    note(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)


def sizes(dispatch_id: str, of: list[int] | None = None) -> list[int]:
    """Return how many nodes each job has, those of the lattice's return value left out."""
    last = node_named(ct.get_result(dispatch_id), ":postprocess:")
    return sorted(len(members) for members in jobs_of(dispatch_id).values() if members != [last])


def by_name(result: ct.Result) -> dict[str, dict[str, Any]]:
    """Return what is known of the tasks of `four`."""
    return {name: result.get_node_result(node_id) for name, node_id in zip(NAMES, calls(result), strict=False)}


def node_of(dispatch_id: str, name: str) -> int:
    return calls(ct.get_result(dispatch_id))[NAMES.index(name)]


def nothing_left(home: Path) -> bool:
    return not list((home / "jobs").glob("ct-*"))


# --- what becomes one job ----------------------------------------------------------------------------------------


def local(**options: Any) -> Any:
    return ct.executor.LocalExecutor(max_workers=2, **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Two rows of four tasks each, the second of which needs the first.
        ({"executor": lambda: local()}, [1] * 8),
        ({"pack": 3, "executor": lambda: local()}, None),
        ({"pack": "chain", "executor": lambda: local()}, [2] * 4),
        ({"pack": "auto", "executor": lambda: local()}, [4, 4]),
        ({"pack": 1, "executor": lambda: local(pack="chain")}, [2] * 4),
    ],
)
def test_the_user_says_how_nodes_become_jobs(
    home: Path, tmp_path: Path, options: dict[str, Any], expected: list[int] | None
) -> None:
    def two_rows(folder):
        return [quick(folder, f"second-{place}", quick(folder, f"first-{place}")) for place in range(4)]

    executor: Callable[[], Any] = options["executor"]
    workflow = ct.lattice(**{**options, "executor": executor()})(two_rows)
    result = ct.dispatch_sync(workflow)(tmp_path)
    found = jobs_of(result.dispatch_id)

    assert result.result == [f"second-{place}" for place in range(4)]
    assert sum(sizes(result.dispatch_id)) == 8
    assert all(runs(tmp_path, f"{row}-{place}") == 1 for row in ("first", "second") for place in range(4))

    if expected is not None:
        assert sizes(result.dispatch_id) == expected
    else:
        # The first row is ready at once; the second as its parts come.
        assert max(map(len, found.values())) == options.get("pack", 4)


def test_what_only_takes_apart_never_costs_a_job(home: Path) -> None:
    @ct.electron
    def pair(x):
        return {"real": x, "list": [x, 2 * x]}

    @ct.lattice
    def workflow(x):
        first = pair(x)
        a, b = first["list"]
        real = (-first["real"] + 1).real
        return a, b, real

    result = ct.dispatch_sync(workflow)(3)
    found = jobs_of(result.dispatch_id)

    assert result.result == (3, 6, -2)
    assert len(found) == 2, "one for the electron with what takes it apart, one for the return value"
    assert len(max(found.values(), key=len)) == len(calls(result)) - 1


def test_what_needs_two_jobs_runs_after_them_in_one_of_its_own_for_all(home: Path) -> None:
    @ct.electron
    def one(x):
        return x

    @ct.lattice
    def workflow():
        a, b = one(1), one(2)
        return (a + b) * 2, a - b

    result = ct.dispatch_sync(workflow)()

    assert result.result == (6, -1)
    assert sizes(result.dispatch_id) == [1, 1, 3]


def test_one_handle_for_many_nodes_and_each_its_own_of_the_rest(home: Path, tmp_path: Path) -> None:
    """Seen from outside while a later member runs: the test lets it end only after having seen the first."""
    dispatch_id = ct.dispatch(four)(tmp_path)
    first, second, *_ = calls(ct.get_result(dispatch_id))
    wait_until(lambda: status_of(dispatch_id, first) == Status.COMPLETED)
    tree(tmp_path, "b")
    result = ct.get_result(dispatch_id)
    seen, running = result.get_node_result(first), result.get_node_result(second)

    assert seen["output"] == "a"
    assert seen["stdout"] == "a prints\n"
    assert seen["stderr"] == "a warns\n"
    assert seen["start_time"] <= seen["end_time"]
    assert running["status"] == Status.RUNNING
    assert running["job_handle"] == seen["job_handle"]

    let_go(tmp_path, "b", "c")
    result = finished(dispatch_id)
    rows = list(by_name(result).values())

    assert result.result == NAMES
    assert sizes(dispatch_id) == [4]
    assert {row["job_handle"] for row in rows} == {seen["job_handle"]}
    assert [row["stdout"] for row in rows] == ["a prints\n", "", "", "d prints\n"]
    assert all(row["start_time"] <= row["end_time"] for row in rows)
    assert [row["start_time"] for row in rows] == sorted(row["start_time"] for row in rows)
    assert rows[0]["end_time"] <= rows[1]["start_time"]
    assert rows[0]["end_time"] == seen["end_time"]
    assert nothing_left(home)


@pytest.mark.parametrize("size", [3, 1_000_000])
def test_values_stay_in_the_pack_and_are_kept_all_the_same(home: Path, size: int) -> None:
    @ct.electron
    def blank(size):
        return bytes(size)

    @ct.electron
    def longer(value):
        return value + b"."

    @ct.lattice(pack="chain")
    def workflow(size):
        return longer(longer(blank(size)))

    result = ct.dispatch_sync(workflow)(size)
    outputs = [result.get_node_result(node_id)["output"] for node_id in calls(result)]

    assert len(jobs_of(result.dispatch_id)) == 1
    assert sorted(map(len, outputs)) == [size, size + 1, size + 2]
    assert result.result == bytes(size) + b".."
    assert nothing_left(home)


# --- members that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_member_that_fails_takes_only_what_needs_it(home: Path, tmp_path: Path, how: str) -> None:
    @ct.lattice(pack="auto", executor=ct.executor.LocalExecutor(max_workers=1))
    def workflow(folder):
        quick(folder, "before")
        wrong = failing(folder, "wrong") if how == "raises" else die(folder, "wrong")
        quick(folder, "after")
        quick(folder, "below", gather(wrong))

    result = ct.dispatch_sync(workflow)(tmp_path)
    before, wrong, after, gathered, below = sorted(calls(result))
    error = "ValueError: wrong is not well" if how == "raises" else "was ended by signal 9 (SIGKILL)"

    if how == "raises":
        gathered, below = below, gathered

    assert len(jobs_of(result.dispatch_id)) == 1
    assert result.status == Status.FAILED
    assert error in result.get_node_result(wrong)["error"]
    assert result.get_node_result(wrong)["status"] == Status.FAILED
    assert [result.get_node_result(node)["output"] for node in (before, after)] == ["before", "after"]
    assert [runs(tmp_path, name) for name in ("before", "wrong", "after", "below")] == [1, 1, 1, 0]

    name = "failing" if how == "raises" else "die"
    for node in (gathered, below):
        assert result.get_node_result(node)["status"] == Status.CANCELLED
        assert result.get_node_result(node)["error"] == f"upstream node {wrong} ({name}) failed"

    assert nothing_left(home)


def test_a_member_can_be_tried_again_and_the_others_are_not(home: Path, tmp_path: Path) -> None:
    stubborn = ct.electron(retries=2)(failing.function)

    @ct.lattice(pack=3)
    def workflow(folder):
        return [quick(folder, "first"), stubborn(folder, "stubborn", 1), quick(folder, "last")]

    result = ct.dispatch_sync(workflow)(tmp_path)
    retried = result.get_node_result(calls(result)[1])

    assert result.result == ["first", "stubborn", "last"]
    assert [runs(tmp_path, name) for name in ("first", "stubborn", "last")] == [1, 2, 1]
    assert retried["attempt"] == 1
    assert [attempt["stdout"] for attempt in retried["attempts"]] == ["stubborn prints\n"]
    assert sizes(result.dispatch_id) == [1, 3]


def test_a_member_that_takes_too_long_fails_alone(home: Path, tmp_path: Path) -> None:
    hasty = ct.electron(timeout=0.3)(held.function)

    @ct.lattice(pack=3)
    def workflow(folder):
        return [quick(folder, "first"), hasty(folder, "hasty"), quick(folder, "last")]

    result = ct.dispatch_sync(workflow)(tmp_path)
    first, late, last = (result.get_node_result(node) for node in calls(result)[:3])

    assert [first["output"], last["output"]] == ["first", "last"]
    assert late["status"] == Status.FAILED
    assert "timed out after 0.3 s" in late["error"]
    assert not any_alive(tree(tmp_path, "hasty"))
    assert [runs(tmp_path, name) for name in ("first", "hasty", "last")] == [1, 1, 1]
    assert sizes(result.dispatch_id) == [3]


def test_after_a_member_that_listens_and_takes_too_long_the_next_begins_once(home: Path, tmp_path: Path) -> None:
    """It leaves a process that does not listen, so that there is time for the next to begin too early."""
    deaf = "trap '' TERM; touch ready; while :; do sleep 600; done"

    @ct.electron(timeout=0.5)
    def listening(folder):
        note(folder, "deaf", subprocess.Popen(["sh", "-c", deaf], cwd=folder, start_new_session=True).pid)

        while True:
            ct.checkpoint()

    @ct.lattice(pack=2, grace=0.5)
    def workflow(folder):
        return listening(folder), held(folder, "next")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    left = tree(tmp_path, "deaf")
    wait_until(lambda: not any_alive(left))
    tree(tmp_path, "next")
    let_go(tmp_path, "next")
    result = finished(dispatch_id)

    assert (tmp_path / "ready").exists()
    assert result.get_node_result(0)["error"] == "timed out after 0.5 s"
    assert result.get_node_result(calls(result)[1])["output"] == "next"
    assert runs(tmp_path, "next") == 1


# --- members that are cancelled ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "outcomes", "killed"),
    [
        (["b"], ["stopping"], False),
        (["b"], ["stopping"], True),
        (["c"], ["stopping"], False),
        (["c"], ["stopping"], True),
        (["d"], ["stopping"], False),
        (["a"], ["too late: COMPLETED"], False),
        (["b", "c"], ["stopping", "stopping"], False),
        (["b", "c"], ["stopping", "stopping"], True),
        (["a", "b", "c", "d"], ["too late: COMPLETED", "stopping", "stopping", "stopping"], False),
    ],
)
def test_cancelled_members_end_and_the_others_lose_nothing(
    home: Path, tmp_path: Path, named: list[str], outcomes: list[str], killed: bool
) -> None:
    """When `b` runs, `a` has ended and `c` and `d` have not begun; with the dispatcher, or after it has been killed."""
    dispatch_id = ct.dispatch(four)(tmp_path)
    b = tree(tmp_path, "b")
    wait_until(lambda: status_of(dispatch_id, node_of(dispatch_id, "a")) == Status.COMPLETED)

    if killed:
        kill_dispatcher(home)

    outcome = ct.cancel(dispatch_id, [node_of(dispatch_id, name) for name in named], reason="enough")
    assert [target.outcome for target in outcome.targets] == outcomes
    stopped = [name for name in named if name != "a"]

    for name in stopped:
        ct.get_result(dispatch_id)
        wait_until(lambda name=name: status_of(dispatch_id, node_of(dispatch_id, name)) == Status.CANCELLED)

    assert any_alive(b) == ("b" not in named)

    if "b" in named and "c" not in named:
        c = tree(tmp_path, "c")
        assert any_alive(c)

    let_go(tmp_path, "b", "c")
    result = finished(dispatch_id)
    rows = by_name(result)

    assert {name: row["status"] for name, row in rows.items()} == {
        name: Status.CANCELLED if name in stopped else Status.COMPLETED for name in NAMES
    }
    assert {name: row["output"] for name, row in rows.items()} == {
        name: None if name in stopped else name for name in NAMES
    }
    assert {row["error"] for name, row in rows.items() if name in stopped} <= {"enough"}
    assert {name: runs(tmp_path, name) for name in NAMES} == {
        name: int(name not in stopped or name == "b") for name in NAMES
    }
    assert result.status == (Status.CANCELLED if stopped else Status.COMPLETED)
    assert sizes(dispatch_id) == [4]
    assert not any_alive(b if "b" in named else b[1:])
    assert nothing_left(home)


def test_what_needs_a_cancelled_member_in_its_pack_is_cancelled_with_it(home: Path, tmp_path: Path) -> None:
    @ct.lattice(pack="auto", executor=ct.executor.LocalExecutor(max_workers=1))
    def workflow(folder):
        stopped = held(folder, "stopped")
        quick(folder, "below", stopped)
        return quick(folder, "other")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    stopped = tree(tmp_path, "stopped")
    ct.cancel(dispatch_id, [0])
    result = finished(dispatch_id)
    _, below, _ = calls(result)

    assert len(jobs_of(dispatch_id)) == 1
    assert statuses(result) == [Status.CANCELLED, Status.CANCELLED, Status.COMPLETED]
    assert result.get_node_result(below)["error"] == "upstream node 0 (held) cancelled"
    assert not any_alive(stopped)
    assert [runs(tmp_path, name) for name in ("stopped", "below", "other")] == [1, 0, 1]


def test_a_cancelled_member_can_clean_up_while_nothing_else_begins(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def careful(folder):
        note(folder, "careful")

        try:
            while True:
                ct.checkpoint()
        finally:
            while not Path(folder, "looked").exists():
                pass

            print("cleaned up")

    @ct.lattice(pack=2)
    def workflow(folder):
        return careful(folder), quick(folder, "next")

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    tree(tmp_path, "careful")
    ct.cancel(dispatch_id, [0])
    assert status_of(dispatch_id, 0) == Status.CANCELLING
    assert not runs(tmp_path, "next")
    (tmp_path / "looked").touch()
    result = finished(dispatch_id)

    assert result.get_node_result(0)["status"] == Status.CANCELLED
    assert result.get_node_result(0)["stdout"] == "cleaned up\n"
    assert result.get_node_result(calls(result)[1])["output"] == "next"


@pytest.mark.parametrize("killed", [False, True])
def test_the_whole_dispatch_is_cancelled_while_a_pack_runs(home: Path, tmp_path: Path, killed: bool) -> None:
    dispatch_id = ct.dispatch(four)(tmp_path)
    b = tree(tmp_path, "b")
    wait_until(lambda: status_of(dispatch_id, node_of(dispatch_id, "a")) == Status.COMPLETED)

    if killed:
        kill_dispatcher(home)

    ct.cancel(dispatch_id)
    result = finished(dispatch_id)

    assert statuses(result) == [Status.COMPLETED, *[Status.CANCELLED] * 4]
    assert result.get_node_result(calls(result)[0])["output"] == "a"
    assert not any_alive(b)
    assert not runs(tmp_path, "c")
    assert nothing_left(home)


@pytest.mark.parametrize(
    ("name", "killed"), [*((name, False) for name in EARLY), ("before-upload", True), ("before-provision", True)]
)
def test_cancelled_before_it_is_asked_for_the_pack_is_given_up_and_the_others_run_in_another_job(
    home: Path, tmp_path: Path, stops: Stops, name: str, killed: bool
) -> None:
    let_go(tmp_path, "b", "c")
    stops.take(name)
    dispatch_id = ct.dispatch(four)(tmp_path)
    stops.wait(name)

    if killed:
        kill_dispatcher(home)

    ct.cancel(dispatch_id, [node_of(dispatch_id, "b")], reason="enough")
    stops.leave(name)
    result = finished(dispatch_id)

    assert {name: row["output"] for name, row in by_name(result).items()} == {"a": "a", "b": None, "c": "c", "d": "d"}
    assert by_name(result)["b"]["status"] == Status.CANCELLED
    assert [runs(tmp_path, name) for name in NAMES] == [1, 0, 1, 1]
    assert nothing_left(home)

    if not killed or name != "before-provision":
        # After a crash nobody knows whether a job that was uploaded has been asked for; it then goes on with the rest.
        assert sizes(dispatch_id) == [3, 4]


@pytest.mark.parametrize("name", ["after-provision", "before-fetch", "before-end"])
def test_cancelled_after_it_was_asked_for_the_others_keep_their_results(
    home: Path, tmp_path: Path, stops: Stops, name: str
) -> None:
    let_go(tmp_path, "b", "c")
    stops.take(name)
    dispatch_id = ct.dispatch(four)(tmp_path)
    stops.wait(name)
    outcome = ct.cancel(dispatch_id, [node_of(dispatch_id, "d")], reason="enough")
    stops.leave(name)
    result = finished(dispatch_id)

    assert outcome
    assert [by_name(result)[name]["output"] for name in NAMES] == ["a", "b", "c", None]
    assert by_name(result)["d"]["status"] == Status.CANCELLED
    assert [runs(tmp_path, name) for name in NAMES[:3]] == [1, 1, 1]
    assert runs(tmp_path, "d") <= 1
    assert nothing_left(home)


# --- the dispatcher dies -----------------------------------------------------------------------------------------


def test_killed_while_a_pack_runs_nobody_loses_a_result(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(four)(tmp_path)
    b = tree(tmp_path, "b")
    kill_dispatcher(home)
    let_go(tmp_path, "b")
    c = tree(tmp_path, "c")
    assert not any_alive(b[1:])
    let_go(tmp_path, "c")
    result = finished(dispatch_id)

    assert result.result == NAMES
    assert [runs(tmp_path, name) for name in NAMES] == [1] * 4
    assert by_name(result)["d"]["stdout"] == "d prints\n"
    assert sizes(dispatch_id) == [4]
    assert not any_alive(c)
    assert nothing_left(home)


@pytest.mark.parametrize(
    "name", ["before-upload", "before-provision", "after-provision", "before-end", "before-release"]
)
def test_killed_at_a_stop_each_member_runs_once(home: Path, tmp_path: Path, stops: Stops, name: str) -> None:
    let_go(tmp_path, "b", "c")
    stops.take(name)
    dispatch_id = ct.dispatch(four)(tmp_path)
    stops.wait(name)
    kill_dispatcher(home)
    stops.leave(name)

    assert finished(dispatch_id).result == NAMES
    assert [runs(tmp_path, name) for name in NAMES] == [1] * 4
    assert nothing_left(home)


def test_killed_while_a_member_is_being_ended(home: Path, tmp_path: Path, stops: Stops) -> None:
    dispatch_id = ct.dispatch(four)(tmp_path)
    b = tree(tmp_path, "b")
    stops.take("before-cancel")
    ct.cancel(dispatch_id, [node_of(dispatch_id, "b")])
    stops.wait("before-cancel")
    kill_dispatcher(home)
    assert any_alive(b)
    stops.leave("before-cancel")
    let_go(tmp_path, "c")
    result = finished(dispatch_id)

    assert not any_alive(b)
    assert [by_name(result)[name]["output"] for name in NAMES] == ["a", None, "c", "d"]
    assert [runs(tmp_path, name) for name in NAMES] == [1] * 4


# --- executors that know nothing of packs ------------------------------------------------------------------------


@pytest.fixture
def plain(installed_examples: None, tmp_path: Path) -> dict[str, Callable[[], Any]]:
    """Executors without `cancel_members`."""
    (tmp_path / "work").mkdir()
    return {
        "folder": lambda: ct.executor.FolderExecutor(folder=str(tmp_path / "work")),
        "scripted": lambda: ct.executor.ScriptedExecutor(str(tmp_path / "work"), {}),
    }


@pytest.mark.parametrize(("kind", "named"), [("folder", "b"), ("scripted", "b"), ("folder", "c")])
def test_without_a_hook_for_it_the_job_is_ended_and_the_others_get_their_results_in_another(
    home: Path, tmp_path: Path, plain: dict[str, Callable[[], Any]], kind: str, named: str
) -> None:
    dispatch_id = ct.dispatch(ct.lattice(pack=4, executor=plain[kind]())(four.function))(tmp_path)
    b = tree(tmp_path, "b")
    ct.cancel(dispatch_id, [node_of(dispatch_id, named)], reason="enough")
    wait_until(lambda: status_of(dispatch_id, node_of(dispatch_id, named)) == Status.CANCELLED)
    assert not any_alive(b)
    let_go(tmp_path, "b", "c")
    result = finished(dispatch_id)

    assert {name: row["output"] for name, row in by_name(result).items()} == {
        name: None if name == named else name for name in NAMES
    }
    assert by_name(result)[named]["error"] == "enough"
    assert runs(tmp_path, named) == int(named == "b")
    assert runs(tmp_path, "d") == 1


@pytest.mark.parametrize("kind", ["folder", "scripted"])
def test_without_any_knowledge_of_packs_a_pack_still_works(
    home: Path, tmp_path: Path, plain: dict[str, Callable[[], Any]], kind: str
) -> None:
    let_go(tmp_path, "b", "c")
    result = finished(ct.dispatch(ct.lattice(pack=4, executor=plain[kind]())(four.function))(tmp_path))

    assert result.result == NAMES
    assert sizes(result.dispatch_id) == [4]
    assert [runs(tmp_path, name) for name in NAMES] == [1] * 4
