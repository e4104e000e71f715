"""A cancel that gives what runs less time than its electron and its executor do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from probes import kill_dispatcher, wait_until
from tasks import finished

import covalent_core as ct
from covalent_core import Status
from covalent_core.executor import LocalExecutor

#: Seconds that no test waits for.
LONG = 600.0


def deaf() -> Callable[[Path, str], str]:
    """Return a task that takes note of a cancel and goes on all the same."""

    def task(folder: Path, name: str = "it") -> str:
        import time

        import covalent_core as ct

        current = ct.current_task()
        assert current is not None
        (folder / f"{name} began").touch()

        while not (folder / f"{name} may end").exists():
            if current.cancel_requested:
                (folder / f"{name} knows").touch()

            time.sleep(0.005)

        return name

    return task


def dispatch(folder: Path, *, grace: float = LONG) -> str:
    task = ct.electron(executor=LocalExecutor(grace=grace))(deaf())
    dispatch_id = ct.dispatch(ct.lattice(task))(folder)
    wait_until((folder / "it began").exists)
    return dispatch_id


@pytest.mark.parametrize("killed", [False, True])
def test_no_time_at_all(home: Path, tmp_path: Path, killed: bool) -> None:
    dispatch_id = dispatch(tmp_path)

    if killed:
        kill_dispatcher(home)

    ct.cancel(dispatch_id, grace=0)
    assert finished(dispatch_id).status == Status.CANCELLED


@pytest.mark.parametrize("killed", [False, True])
def test_a_later_cancel_gives_less(home: Path, tmp_path: Path, killed: bool) -> None:
    dispatch_id = dispatch(tmp_path)
    ct.cancel(dispatch_id)
    wait_until((tmp_path / "it knows").exists)

    if killed:
        kill_dispatcher(home)

    ct.cancel(dispatch_id, grace=0)
    assert finished(dispatch_id).status == Status.CANCELLED


def test_a_later_cancel_does_not_give_more(home: Path, tmp_path: Path) -> None:
    dispatch_id = dispatch(tmp_path)
    ct.cancel(dispatch_id, grace=0.5)
    ct.cancel(dispatch_id, grace=LONG)
    ct.cancel(dispatch_id)
    assert finished(dispatch_id).status == Status.CANCELLED


def test_it_is_never_more_than_the_executor_gives(home: Path, tmp_path: Path) -> None:
    dispatch_id = dispatch(tmp_path, grace=0.1)
    ct.cancel(dispatch_id, grace=LONG)
    assert finished(dispatch_id).status == Status.CANCELLED


def test_a_task_has_the_time_that_it_is_given(home: Path, tmp_path: Path) -> None:
    dispatch_id = dispatch(tmp_path)
    before = time.monotonic()
    ct.cancel(dispatch_id, grace=1)
    wait_until((tmp_path / "it knows").exists)
    finished(dispatch_id)
    assert time.monotonic() - before > 0.9


@pytest.mark.parametrize("told_before", [False, True])
def test_a_member_of_a_pack_is_given_less_and_the_others_go_on(home: Path, tmp_path: Path, told_before: bool) -> None:
    task = ct.electron(executor=LocalExecutor(grace=LONG))(deaf())

    @ct.lattice(pack=2)
    def workflow(folder: Path) -> list[Any]:
        return [task(folder, "first"), task(folder, "second")]

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    wait_until((tmp_path / "first began").exists)

    if told_before:
        ct.cancel(dispatch_id, 0)
        wait_until((tmp_path / "first knows").exists)

    ct.cancel(dispatch_id, 0, grace=0)
    wait_until((tmp_path / "second began").exists)
    (tmp_path / "second may end").touch()
    result = finished(dispatch_id)

    assert [result.get_node_result(node_id)["status"] for name, node_id in result.nodes() if name[0] != ":"] == [
        Status.CANCELLED,
        Status.COMPLETED,
    ]


def test_it_reaches_the_tasks_of_a_sublattice(home: Path, tmp_path: Path) -> None:
    task = ct.electron(executor=LocalExecutor(grace=LONG))(deaf())

    @ct.electron
    @ct.lattice
    def inner(folder: Path) -> Any:
        return task(folder)

    @ct.lattice
    def outer(folder: Path) -> Any:
        return inner(folder)

    dispatch_id = ct.dispatch(outer)(tmp_path)
    wait_until((tmp_path / "it began").exists)
    ct.cancel(dispatch_id, grace=0)
    assert finished(dispatch_id).status == Status.CANCELLED


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), "5", True])
def test_what_is_no_time_is_refused_and_nothing_is_cancelled(home: Path, tmp_path: Path, grace: Any) -> None:
    dispatch_id = dispatch(tmp_path)

    with pytest.raises(ct.errors.DispatchError, match=r"grace is .*, expected a number of seconds, 0 or more"):
        ct.cancel(dispatch_id, grace=grace)

    (tmp_path / "it may end").touch()
    assert finished(dispatch_id).status == Status.COMPLETED
