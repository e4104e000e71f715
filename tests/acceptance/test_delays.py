"""A dispatch that is to start later: not before its moment, whatever becomes of dispatchers, and cancelled at once."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from probes import dispatchers_of, kill_dispatcher, wait_until
from sqlalchemy import update
from tasks import finished, gather, held, let_go, quick, runs

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.schema import dispatches
from covalent_core._store.store import Store
from covalent_core.errors import DispatchError

#: Long enough for a test to do something in it.
DELAY = 2.0


@ct.lattice
def workflow(folder: Path) -> Any:
    return gather(quick(folder, "task"))


def in_seconds(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


@pytest.mark.parametrize("how", ["delay", "timedelta", "at", "at elsewhere"])
def test_nothing_starts_before_its_moment(home: Path, tmp_path: Path, how: str) -> None:
    elsewhere = timezone(timedelta(hours=-11))
    when: dict[str, Any] = {
        "delay": {"delay": DELAY},
        "timedelta": {"delay": timedelta(seconds=DELAY)},
        "at": {"at": in_seconds(DELAY)},
        "at elsewhere": {"at": in_seconds(DELAY).astimezone(elsewhere)},
    }[how]
    earliest = time.time() + 0.9 * DELAY
    dispatch_id = ct.dispatch(workflow, **when)(tmp_path)
    before = ct.get_result(dispatch_id)
    result = finished(dispatch_id)

    assert (before.status, before.start_time) == (Status.NEW_OBJECT, None)
    assert f"not_before: {before.not_before}\n" in str(before)
    assert result.status == Status.COMPLETED
    assert result.not_before.timestamp() > earliest
    assert result.start_time >= result.not_before
    assert runs(tmp_path, "task") == 1


def test_a_moment_that_has_passed_is_now(home: Path, tmp_path: Path) -> None:
    assert finished(ct.dispatch(workflow, at=in_seconds(-3600))(tmp_path)).status == Status.COMPLETED


def test_others_do_not_wait_for_it(home: Path, tmp_path: Path) -> None:
    late = ct.dispatch(workflow, delay=600)(tmp_path / "late")
    (tmp_path / "soon").mkdir()

    assert finished(ct.dispatch(workflow)(tmp_path / "soon")).status == Status.COMPLETED
    assert ct.get_result(late).status == Status.NEW_OBJECT
    assert ct.cancel(late, wait=True).confirmed


def test_it_is_cancelled_at_once_and_nobody_needs_to_live_for_that(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(workflow, delay=DELAY)(tmp_path)
    kill_dispatcher(home)
    outcome = ct.cancel(dispatch_id, reason="not today")
    result = ct.get_result(dispatch_id)

    assert outcome
    assert {target.outcome for target in outcome.targets} == {"prevented"}
    assert (result.status, result.error) == (Status.CANCELLED, "not today")
    assert not dispatchers_of(home)
    # One that comes later does not find it either.
    moment = result.not_before.timestamp()
    other = ct.dispatch(workflow, at=result.not_before)(tmp_path)
    wait_until(lambda: time.time() > moment)
    assert finished(other).status == Status.COMPLETED
    assert runs(tmp_path, "task") == 1


def test_it_outlives_the_dispatcher_and_starts_once(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(workflow, delay=DELAY)(tmp_path)
    moment = ct.get_result(dispatch_id).not_before
    kill_dispatcher(home)
    result = finished(dispatch_id)

    assert result.status == Status.COMPLETED
    assert result.start_time >= moment
    assert runs(tmp_path, "task") == 1


def test_a_dispatcher_does_not_end_while_one_waits(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "0.1")
    dispatch_id = ct.dispatch(workflow, delay=DELAY)(tmp_path)
    wait_until(lambda: dispatchers_of(home))
    (dispatcher,) = dispatchers_of(home)
    moment = ct.get_result(dispatch_id).not_before.timestamp()
    # Nothing calls it back: only the files say when it has begun.
    wait_until(lambda: time.time() > moment or dispatchers_of(home) != [dispatcher])

    assert time.time() > moment, "the dispatcher has ended"
    wait_until(lambda: (tmp_path / "task").exists())
    wait_until(lambda: not dispatchers_of(home))
    assert finished(dispatch_id).status == Status.COMPLETED


def test_a_time_limit_begins_with_the_dispatch(home: Path, tmp_path: Path) -> None:
    @ct.lattice(timeout=2 * DELAY)
    def bounded(folder: Path) -> Any:
        return gather(quick(folder, "task"))

    assert finished(ct.dispatch(bounded, delay=2.2 * DELAY)(tmp_path)).status == Status.COMPLETED


def test_what_has_started_goes_on_though_the_clock_was_set_back(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def holding(folder: Path) -> Any:
        return gather(held(folder, "task"))

    dispatch_id = ct.dispatch(holding, delay=0.1)(tmp_path)
    wait_until(lambda: runs(tmp_path, "task"))
    kill_dispatcher(home)

    # What the clock says now is long before that moment.
    with Store(find_home()).database.write() as connection:
        connection.execute(update(dispatches).values(not_before=time.time() + 3600))

    let_go(tmp_path, "task")
    assert finished(dispatch_id).status == Status.COMPLETED
    assert runs(tmp_path, "task") == 1


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"delay": -1}, "delay is -1, expected a number of seconds or a timedelta, not below 0"),
        ({"delay": float("nan")}, "delay is nan"),
        ({"delay": float("inf")}, "delay is inf"),
        ({"delay": "1h"}, "delay is '1h'"),
        ({"delay": True}, "delay is True"),
        ({"at": datetime(2030, 1, 1)}, "which is another moment in each time zone; say which: at="),
        ({"at": "tomorrow"}, "at is 'tomorrow', expected a datetime with a time zone"),
        ({"delay": 1, "at": datetime(2030, 1, 1, tzinfo=timezone.utc)}, "a delay or a moment `at` which it starts"),
    ],
)
def test_what_is_no_moment_is_refused_before_anything_is_stored(home: Path, when: Any, words: str) -> None:
    with pytest.raises(DispatchError) as error:
        ct.dispatch(workflow, **when)

    assert words in str(error.value)
    assert not home.exists()
