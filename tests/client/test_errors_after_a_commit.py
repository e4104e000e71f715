"""Whoever calls hears what is on disk already, whatever goes wrong after that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from probes import dispatchers_of, wait_until
from tasks import finished, runs

import covalent_core as ct
from covalent_core import Status
from covalent_core._client import api, cancelling, spawn, stored
from covalent_core._detached import DetachedProcess
from covalent_core._store.database import Database
from covalent_core.errors import DispatcherError, DispatchError


@ct.electron
def note_run(folder: Path, content: bytes) -> int:
    with open(folder / "runs", "a") as file:
        file.write(f"{os.getpid()}\n")

    return len(content)


@ct.lattice
def workflow(folder: Path, content: bytes = b"") -> Any:
    return note_run(folder, content)


class Index:
    """An integer of another library, as NumPy has them."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


@pytest.fixture
def _unstartable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no dispatcher start until the test takes it back."""
    monkeypatch.setattr(spawn, "DetachedProcess", DetachedProcess)
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "ten")


def startable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "10")


# --- no dispatcher ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_unstartable")
def test_a_dispatch_that_is_stored_says_its_id_though_no_dispatcher_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DispatcherError) as caught:
        ct.dispatch(workflow)(tmp_path)

    dispatch_id = caught.value.dispatch_id
    assert dispatch_id is not None
    assert str(caught.value).startswith(f"dispatch {dispatch_id} is stored and waits; the dispatcher of ")
    assert "invalid float value: 'ten'" in str(caught.value)

    startable(monkeypatch)

    assert finished(dispatch_id).result == 0
    assert runs(tmp_path, "runs") == 1


@pytest.mark.usefixtures("_unstartable")
def test_a_cancel_is_on_disk_and_says_what_it_did_though_no_dispatcher_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DispatcherError) as stored:
        ct.dispatch(workflow)(tmp_path)

    dispatch_id = str(stored.value.dispatch_id)

    # The parameter had its value from the start, so the dispatch goes on.
    with pytest.raises(DispatcherError) as caught:
        ct.cancel(dispatch_id, [1])

    assert caught.value.dispatch_id == dispatch_id
    assert caught.value.outcome is not None
    assert [target.outcome for target in caught.value.outcome.targets] == ["too late: COMPLETED"]
    assert str(caught.value).startswith(f"the cancel is on disk: {caught.value.outcome}; the dispatcher of ")

    # All that there is has not begun: nothing is left for a dispatcher to do.
    assert ct.cancel(dispatch_id)
    startable(monkeypatch)
    result = finished(dispatch_id)

    assert result.status == Status.CANCELLED
    assert [order["task_ids"] for order in result.get_cancellations()] == [[1], None]


def test_a_dispatcher_that_fails_again_and_again_is_said(home: Path, tmp_path: Path) -> None:
    # Where its bell should be is something that it cannot remove.
    (home / "bell" / "inside").mkdir(parents=True)

    with pytest.raises(DispatcherError) as caught:
        ct.dispatch_sync(workflow)(tmp_path)

    assert f"the dispatcher of {home} fails each time it is started" in str(caught.value)
    assert "IsADirectoryError" in str(caught.value)
    assert caught.value.dispatch_id is not None

    # It is said once: whoever has repaired it need not wait.
    wait_until(lambda: not dispatchers_of(home))
    (home / "bell" / "inside").rmdir()
    (home / "bell").rmdir()

    assert finished(caught.value.dispatch_id).status == Status.COMPLETED
    assert finished(ct.dispatch(workflow)(tmp_path)).status == Status.COMPLETED


# --- Ctrl-C -------------------------------------------------------------------------------------------------------


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> Iterator[None]:
    """Let a Ctrl-C come within the next transactions that write: when they are on disk, or before."""
    write = Database.write

    @contextmanager
    def write_and_interrupt(database: Database) -> Iterator[Any]:
        with write(database) as connection:
            yield connection

            if not committed:
                raise KeyboardInterrupt

        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", write_and_interrupt)
        yield


@pytest.mark.parametrize("committed", [True, False])
def test_ctrl_c_in_a_commit_leaves_a_dispatch_whole_or_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    ct.list_dispatches()

    with interrupted(monkeypatch, committed=committed), pytest.raises(KeyboardInterrupt) as caught:
        ct.dispatch(workflow)(tmp_path, bytes(200_000))

    found = ct.list_dispatches()

    if committed:
        assert [finished(result.dispatch_id).result for result in found] == [200_000]
        said = f"dispatch {found[0].dispatch_id} is stored all the same"
        assert getattr(caught.value, "__notes__", [said]) == [said]
    else:
        assert found == []
        assert not list((home / "values").iterdir())


@pytest.mark.parametrize("committed", [True, False])
def test_ctrl_c_in_a_commit_leaves_a_schedule_whole_or_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    ct.list_dispatches()

    with interrupted(monkeypatch, committed=committed), pytest.raises(KeyboardInterrupt):
        ct.schedule(workflow, name="nightly", every=3600)(tmp_path, bytes(200_000))

    if committed:
        assert finished(ct.trigger("nightly")).result == 200_000
    else:
        assert ct.list_schedules() == []
        assert not list((home / "values").iterdir())


def test_ctrl_c_after_the_commit_says_the_id(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stored, "ensure_dispatcher", interrupt)

    with pytest.raises(KeyboardInterrupt) as caught:
        ct.dispatch(workflow)(tmp_path)

    monkeypatch.undo()
    monkeypatch.setenv("COVALENT_CORE_HOME", str(home))
    (found,) = ct.list_dispatches()
    said = f"dispatch {found.dispatch_id} is stored and waits"

    assert getattr(caught.value, "__notes__", [said]) == [said]


# --- which nodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [lambda: 0, lambda: Index(0), lambda: [Index(0)], lambda: {0}, lambda: range(1), lambda: iter([0])],
    ids=["one", "one of a library", "of a library", "set", "range", "iterator"],
)
def test_nodes_may_be_named_in_any_way(home: Path, tmp_path: Path, monkeypatch: Any, make: Any) -> None:
    with monkeypatch.context() as patch:
        # Nothing is to run before the cancel.
        patch.setattr(api, "start_dispatcher", lambda _: None)

        for module in (cancelling, stored):
            patch.setattr(module, "ensure_dispatcher", lambda _: None)
        dispatch_id = ct.dispatch(workflow)(tmp_path)
        outcome = ct.cancel(dispatch_id, make())

    assert [(target.node_id, target.outcome) for target in outcome.targets] == [(0, "prevented")]
    assert ct.get_result(dispatch_id).get_cancellations()[0]["task_ids"] == [0]


@pytest.mark.parametrize("task_ids", [True, False, "0", "12", 0.0, [True], ["0"], [0, None], [[0]]], ids=repr)
def test_what_is_no_node_id_is_refused(home: Path, task_ids: Any) -> None:
    with pytest.raises(DispatchError) as caught:
        ct.cancel("a dispatch", task_ids)

    wrong = task_ids[-1] if isinstance(task_ids, list) else task_ids
    assert str(caught.value) == f"task_ids takes node ids, which are integers, not {wrong!r}"


def test_a_timeout_that_is_not_a_number_is_refused(home: Path) -> None:
    with pytest.raises(DispatchError, match=r"^timeout is nan, expected a number of seconds, or None"):
        ct.get_result("a dispatch", wait=True, timeout=float("nan"))
