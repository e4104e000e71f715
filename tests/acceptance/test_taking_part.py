"""A task that takes part in its cancel: it knows why, ends what it waits for, finishes what must not be cut."""

from __future__ import annotations

import asyncio
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

REASON = "the laser is off, für heute"


def ended(
    function: Callable[[Path], Any], folder: Path, *, grace: float = 30.0, killed: Path | None = None
) -> tuple[ct.Result, float]:
    """Cancel a task when it has made ``begun``; return its result, and after how many seconds it had ended.

    Args:
        killed: The home whose dispatcher is killed before.
    """
    dispatch_id = ct.dispatch(ct.lattice(_on(function, LocalExecutor(grace=grace))))(folder)
    wait_until((folder / "begun").exists)

    if killed is not None:
        kill_dispatcher(killed)

    before = time.monotonic()
    ct.cancel(dispatch_id, reason=REASON)
    result = finished(dispatch_id)
    assert result.status == Status.CANCELLED
    return result, time.monotonic() - before


def _on(function: Callable[[Path], Any], executor: LocalExecutor) -> Any:
    return ct.electron(executor=executor)(function)


@pytest.mark.parametrize("killed", [False, True])
def test_it_knows_why(home: Path, tmp_path: Path, killed: bool) -> None:
    def careful(folder: Path) -> None:
        task = ct.current_task()
        assert task is not None
        assert task.reason is None
        (folder / "begun").touch()

        try:
            while True:
                ct.checkpoint()
                time.sleep(0.005)
        except ct.TaskCancelledError as error:
            (folder / "why").write_text(f"{task.reason}, {error.reason}")
            raise

    ended(careful, tmp_path, killed=home if killed else None)
    assert (tmp_path / "why").read_text() == f"{REASON}, {REASON}"


def test_what_it_has_asked_to_be_called_is_called_at_once(home: Path, tmp_path: Path) -> None:
    def waiting(folder: Path) -> None:
        import socket

        ours, theirs = socket.socketpair()
        task = ct.current_task()
        assert task is not None
        task.on_cancel(lambda: 1 / 0)
        task.on_cancel(ours.close)
        (folder / "begun").touch()
        # Would wait for ever.
        print(theirs.recv(1))
        ct.checkpoint()

    result, seconds = ended(waiting, tmp_path)
    node = result.get_node_result(0)
    assert seconds < 15
    assert node["stdout"] == "b''\n"
    assert "ZeroDivisionError" in node["stderr"]


def test_only_the_main_thread_may_ask_to_be_called(home: Path) -> None:
    def ask() -> str:
        from concurrent.futures import ThreadPoolExecutor

        task = ct.current_task()
        assert task is not None

        with ThreadPoolExecutor(1) as pool:
            return str(pool.submit(task.on_cancel, print).exception())

    result = ct.dispatch_sync(ct.lattice(ct.electron(ask)))()
    assert result.result == "on_cancel is for the main thread of the process that runs the task"


def write_slowly(folder: Path) -> None:
    (folder / "begun").touch()

    while not (folder / "go").exists():
        time.sleep(0.005)

    (folder / "written").touch()


def test_a_critical_section_is_finished_first(home: Path, tmp_path: Path) -> None:
    def careful(folder: Path) -> None:
        with ct.shield(600):
            ct.checkpoint()
            write_slowly(folder)
            ct.checkpoint()

        (folder / "after").touch()

    dispatch_id = ct.dispatch(ct.lattice(_on(careful, LocalExecutor(grace=600))))(tmp_path)
    wait_until((tmp_path / "begun").exists)
    ct.cancel(dispatch_id, reason=REASON)
    wait_until(lambda: ct.get_result(dispatch_id).status == Status.CANCELLING)
    (tmp_path / "go").touch()

    assert finished(dispatch_id).status == Status.CANCELLED
    assert (tmp_path / "written").exists()
    assert not (tmp_path / "after").exists()


def test_a_section_that_takes_too_long_is_cut(home: Path, tmp_path: Path) -> None:
    def careless(folder: Path) -> None:
        try:
            with ct.shield(0.2):
                write_slowly(folder)
        except ct.TaskCancelledError as error:
            (folder / "cut").write_text(error.reason)
            # Its own clean-up is not cut again.
            time.sleep(0.5)
            (folder / "cleaned").touch()
            raise

    _, seconds = ended(careless, tmp_path)
    assert 0.2 <= seconds < 20
    assert (tmp_path / "cut").read_text() == REASON
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "written").exists()


def test_who_has_left_a_section_and_never_asks_is_ended_at_once(home: Path, tmp_path: Path) -> None:
    def hurried(folder: Path) -> None:
        with ct.shield(600):
            pass

        (folder / "begun").touch()
        time.sleep(600)

    _, seconds = ended(hurried, tmp_path)
    assert seconds < 20


def test_outside_of_a_task_a_section_is_nothing() -> None:
    with ct.shield(1):
        ct.checkpoint()


@pytest.mark.parametrize("with_deps", [False, True])
def test_a_coroutine_is_cancelled_where_it_waits(home: Path, tmp_path: Path, with_deps: bool) -> None:
    async def waiting(folder: Path) -> None:
        (folder / "begun").touch()

        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            (folder / "cleaned").touch()
            raise

    executor = LocalExecutor(grace=30)
    calls = {"call_before": lambda: None} if with_deps else {}
    dispatch_id = ct.dispatch(ct.lattice(ct.electron(executor=executor, **calls)(waiting)))(tmp_path)
    wait_until((tmp_path / "begun").exists)
    before = time.monotonic()
    ct.cancel(dispatch_id)

    assert finished(dispatch_id).status == Status.CANCELLED
    assert time.monotonic() - before < 15
    assert (tmp_path / "cleaned").exists()


def test_a_coroutine_that_ends_by_a_cancel_of_its_own_has_failed(home: Path) -> None:
    async def odd() -> None:
        raise asyncio.CancelledError

    result = ct.dispatch_sync(ct.lattice(ct.electron(odd)))()
    assert result.status == Status.FAILED
    assert "CancelledError" in str(result.error)


def test_a_coroutine_finishes_its_critical_section(home: Path, tmp_path: Path) -> None:
    async def careful(folder: Path) -> None:
        with ct.shield(600):
            (folder / "begun").touch()

            while not (folder / "go").exists():
                await asyncio.sleep(0.005)

            (folder / "written").touch()

        (folder / "after").touch()

    dispatch_id = ct.dispatch(ct.lattice(_on(careful, LocalExecutor(grace=600))))(tmp_path)
    wait_until((tmp_path / "begun").exists)
    ct.cancel(dispatch_id)
    wait_until(lambda: ct.get_result(dispatch_id).status == Status.CANCELLING)
    (tmp_path / "go").touch()

    assert finished(dispatch_id).status == Status.CANCELLED
    assert (tmp_path / "written").exists()
    assert not (tmp_path / "after").exists()
