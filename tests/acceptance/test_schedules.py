"""A lattice that is dispatched again and again, until nobody wants it any more."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, dispatchers_of, kill_dispatcher, wait_until
from sqlalchemy import update
from tasks import any_alive, finished, gather, held, let_go, quick, runs, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.schedules import Schedules
from covalent_core._store.schema import schedules
from covalent_core._store.store import Store
from covalent_core.errors import DispatchError, GraphError, ScheduleError, ScheduleNotFoundError

#: Six instants of an hourly schedule have passed since, the last of them some minutes ago.
LONG_AGO = datetime.now(timezone.utc) - timedelta(hours=5, minutes=10)


@ct.lattice
def workflow(folder: Path) -> Any:
    return gather(quick(folder, "task"))


@ct.lattice
def holding(folder: Path) -> Any:
    return gather(held(folder, "task"))


def made(name: str = "nightly") -> list[str]:
    """Return the dispatches that a schedule has made, oldest first."""
    found = [schedule for schedule in ct.list_schedules() if schedule.name == name]
    return [each.dispatch_id for each in reversed(found[0].last) if each.dispatch_id] if found else []


def outcomes(name: str = "nightly") -> list[str]:
    (found,) = [schedule for schedule in ct.list_schedules() if schedule.name == name]
    return [each.outcome for each in found.last]


def since(moment: datetime) -> float:
    return (datetime.now(timezone.utc) - moment).total_seconds()


def make_due(seconds_ago: float) -> None:
    """Let every schedule be due as if nobody had looked since."""
    with Store(find_home()).database.write() as connection:
        connection.execute(update(schedules).values(next_due=time.time() - seconds_ago))


def come_due() -> None:
    """Let every schedule be due now, and return when something has been done about it."""
    make_due(0)
    wait_until(lambda: all(row.next_due > time.time() for row, _ in Schedules(Store(find_home())).all()))


def test_it_is_dispatched_again_and_again_from_the_same_graph(home: Path, tmp_path: Path) -> None:
    large = "x" * 100_000

    @ct.lattice
    def with_large(folder: Path, text: str) -> Any:
        return gather(quick(folder, "task"), ct.electron(len)(text))

    schedule = ct.schedule(with_large, name="nightly", every=1)(tmp_path, large)
    assert (schedule.name, schedule.lattice, schedule.every, schedule.cron) == ("nightly", "with_large", 1, None)
    assert len(schedule.next) == 5
    assert {after - before for before, after in zip(schedule.next, schedule.next[1:], strict=False)} == {
        timedelta(seconds=1)
    }
    wait_until(lambda: len(made()) >= 2)
    first, second = made()[:2]

    for dispatch_id in (first, second):
        assert finished(dispatch_id).result == ("task", 100_000)

    ct.unschedule("nightly")

    moments = [ct.get_result(dispatch_id).due.timestamp() for dispatch_id in (first, second)]
    since_the_first = [moment - schedule.next[0].timestamp() for moment in moments]
    # On a busy machine the first may be open when the second is due.
    assert since_the_first[0] < since_the_first[1]
    assert since_the_first == pytest.approx([round(seconds) for seconds in since_the_first], abs=1e-3)
    assert ct.get_result(first).schedule == "nightly"
    assert ct.redispatch(first)


def test_a_cron_expression_in_a_time_zone(home: Path, tmp_path: Path) -> None:
    schedule = ct.schedule(workflow, name="nightly", cron="30 2 * * *", timezone="Asia/Kolkata")(tmp_path)

    assert {(instant.hour, instant.minute) for instant in schedule.next} == {(21, 0)}
    assert made() == []


@pytest.mark.parametrize("killed", [False, True])
def test_after_unschedule_nothing_starts_and_what_runs_is_ended(home: Path, tmp_path: Path, killed: bool) -> None:
    ct.schedule(holding, name="nightly", every=1)(tmp_path)
    processes = tree(tmp_path, "task")
    (dispatch_id,) = made()

    if killed:
        kill_dispatcher(home)

    (outcome,) = ct.unschedule("nightly", reason="the laser is off")
    result = finished(dispatch_id)

    assert outcome
    assert (result.status, result.error) == (Status.CANCELLED, "the laser is off")
    assert not any_alive(processes)
    assert ct.list_schedules() == []
    last = time.time()
    # Two more instants pass, and a dispatcher looks at them.
    wait_until(lambda: time.time() > last + 2)
    assert finished(ct.dispatch(workflow)(tmp_path / "beside")).status == Status.FAILED
    assert runs(tmp_path, "task") == 1
    assert [found.dispatch_id for found in ct.list_dispatches() if found.schedule] == [dispatch_id]


def test_while_one_is_open_the_next_is_left_out(home: Path, tmp_path: Path) -> None:
    ct.schedule(holding, name="nightly", every=1)(tmp_path)
    wait_until(made)
    (dispatch_id,) = made()
    wait_until(lambda: f"skipped: {dispatch_id} was open" in outcomes())
    let_go(tmp_path, "task")
    wait_until(lambda: set(made()) - {dispatch_id})
    ct.unschedule("nightly")


def test_one_waits_until_the_one_before_has_ended(home: Path, tmp_path: Path) -> None:
    ct.schedule(holding, name="nightly", every=3600, overlap="wait")(tmp_path)
    come_due()
    tree(tmp_path, "task")
    (first,) = made()
    come_due()
    come_due()
    assert outcomes() == ["skipped: a later one waits", "started"]
    let_go(tmp_path, "task")
    wait_until(lambda: len(made()) == 2)
    assert outcomes() == ["started late: the one before was open", "skipped: a later one waits", "started"]
    second = made()[1]
    wait_until(lambda: ct.get_result(second).start_time)
    ct.unschedule("nightly")

    assert ct.get_result(second).start_time >= ct.get_result(first).end_time


def test_the_one_before_is_cancelled_and_the_next_waits_for_the_proof(home: Path, tmp_path: Path, stops: Stops) -> None:
    stops.take("before-cancel")
    ct.schedule(holding, name="nightly", every=1, overlap="cancel")(tmp_path)
    processes = tree(tmp_path, "task")
    (first,) = made()
    wait_until(lambda: ct.get_result(first).status == Status.CANCELLING)
    stops.wait("before-cancel")

    assert not set(made()) - {first}
    assert any_alive(processes)
    stops.leave("before-cancel")
    wait_until(lambda: set(made()) - {first})
    assert not any_alive(processes)
    assert ct.get_result(first).error == "the next one of schedule 'nightly' is due"
    ct.unschedule("nightly")


def test_both_may_run(home: Path, tmp_path: Path) -> None:
    ct.schedule(holding, name="nightly", every=1, overlap="allow")(tmp_path)
    wait_until(lambda: len(made()) >= 2)
    ct.unschedule("nightly")


def test_what_was_missed_is_not_made_up_for(home: Path, tmp_path: Path) -> None:
    ct.schedule(workflow, name="nightly", every=3600, start=LONG_AGO)(tmp_path)
    kill_dispatcher(home)
    make_due(since(LONG_AGO))
    ct.dispatch(workflow)(tmp_path)
    wait_until(lambda: len(outcomes()) >= 6)

    assert set(outcomes()) == {"missed: nothing ran that could start it"}
    assert made() == []


def test_of_what_was_missed_the_latest_is_made_up_for_within_its_window(home: Path, tmp_path: Path) -> None:
    ct.schedule(workflow, name="nightly", every=3600, start=LONG_AGO, catchup=timedelta(hours=1))(tmp_path)
    kill_dispatcher(home)
    make_due(since(LONG_AGO))
    ct.dispatch(workflow)(tmp_path)
    wait_until(lambda: made())

    assert outcomes().count("missed: nothing ran that could start it") == 5
    assert outcomes()[0] == "started"
    assert finished(made()[0]).status == Status.COMPLETED


def test_a_tick_at_which_no_dispatcher_lived_is_late_and_not_lost(home: Path, tmp_path: Path) -> None:
    ct.schedule(workflow, name="nightly", every=3600)(tmp_path)
    kill_dispatcher(home)
    make_due(1)
    ct.dispatch(workflow)(tmp_path)
    wait_until(lambda: made())

    assert outcomes() == ["started"]


def test_a_dispatcher_lives_while_there_is_a_schedule(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "0.1")
    ct.schedule(workflow, name="nightly", every=2)(tmp_path)
    (dispatcher,) = dispatchers_of(home)
    wait_until(lambda: (tmp_path / "task").exists())

    assert dispatchers_of(home) == [dispatcher]
    ct.unschedule("nightly")
    wait_until(lambda: not dispatchers_of(home))


def test_paused_and_resumed_and_triggered(home: Path, tmp_path: Path) -> None:
    ct.schedule(workflow, name="nightly", every=1)(tmp_path)
    ct.pause_schedule("nightly")
    before = made()
    (paused,) = ct.list_schedules()
    assert (paused.paused, paused.next) == (True, ())
    dispatch_id = ct.trigger("nightly")
    assert finished(dispatch_id).status == Status.COMPLETED
    assert [each for each in made() if each not in before] == [dispatch_id]
    ct.resume_schedule("nightly")
    wait_until(lambda: len(made()) > len(before) + 1)
    assert "triggered" in outcomes()
    ct.unschedule("nightly")


def test_a_name_that_is_scheduled_again_has_the_new_instants(home: Path, tmp_path: Path) -> None:
    ct.schedule(workflow, name="nightly", every=1)(tmp_path)
    again = ct.schedule(workflow, name="nightly", cron="@daily")(tmp_path)

    assert [found.cron for found in ct.list_schedules()] == ["@daily"]
    assert again.last == ()


def test_each_instant_is_one_dispatch_however_many_look(home: Path, tmp_path: Path) -> None:
    """Two dispatchers at once cannot be; what a tick does is a transaction all the same."""
    from concurrent.futures import ThreadPoolExecutor

    ct.schedule(workflow, name="nightly", every=3600)(tmp_path)
    kill_dispatcher(home)

    for _ in range(20):
        before = len(ct.list_dispatches(limit=1000))
        make_due(1)

        with ThreadPoolExecutor(4) as pool:
            ticks = [pool.submit(Schedules(Store(find_home())).tick) for _ in range(4)]

        assert sum(len(tick.result()) for tick in ticks) == 1
        assert len(ct.list_dispatches(limit=1000)) == before + 1
        made_now = [found.dispatch_id for found in ct.list_dispatches(Status.NEW_OBJECT)]
        assert all(ct.cancel(dispatch_id) for dispatch_id in made_now)
        kill_dispatcher(home)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cron": "* * *"}, ScheduleError, "cron is '* * *', which is no cron expression: Wrong number of fields"),
        ({"cron": "0 0 31 2 *"}, ScheduleError, "no cron expression: Bad day-of-month"),
        ({"cron": 5}, ScheduleError, "cron is 5, expected a text"),
        ({}, ScheduleError, "either cron or every"),
        ({"cron": "* * * * *", "every": 5}, ScheduleError, "either cron or every"),
        ({"every": 0.1}, ScheduleError, "every is 0.1, expected a number of seconds from 1 on"),
        ({"every": -1}, DispatchError, "every is -1, expected a number of seconds or a timedelta"),
        ({"every": 5, "timezone": "Mars/Base"}, ScheduleError, "there is no time zone 'Mars/Base'"),
        ({"every": 5, "overlap": "maybe"}, ScheduleError, "overlap is 'maybe', expected one of skip, wait, allow"),
        ({"every": 5, "start": datetime(2030, 1, 1)}, DispatchError, "start is 2030-01-01T00:00:00, which is another"),
        ({"every": 5, "until": datetime(2020, 1, 1, tzinfo=timezone.utc)}, ScheduleError, "never due"),
        ({"every": 5, "name": " "}, ScheduleError, "name is ' ', expected a text"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_stored(
    home: Path, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        ct.schedule(workflow, **{"name": "nightly", **options})

    assert words in str(caught.value)
    assert not home.exists()


def test_what_is_no_lattice_or_has_no_name_is_said(home: Path) -> None:
    with pytest.raises(GraphError, match="takes a lattice"):
        ct.schedule(len, name="nightly", every=5)  # type: ignore[arg-type]

    for call in (ct.unschedule, ct.pause_schedule, ct.resume_schedule, ct.trigger):
        with pytest.raises(ScheduleNotFoundError, match="there is no schedule 'nightly' in "):
            call("nightly")


def test_the_command_line_shows_and_ends_them(home: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "covalent_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})

    ct.schedule(workflow, name="nightly", cron="30 2 * * *", timezone="Europe/Berlin")(tmp_path)
    ct.schedule(holding, name="often", every=1)(tmp_path)
    tree(tmp_path, "task")
    shown = run("schedules").stdout
    ended = run("unschedule", "often")

    assert all(text in shown for text in ("nightly", "30 2 * * * (Europe/Berlin)", "every 1 s", "holding"))
    assert ended.stdout.endswith(" canceled.\n")
    assert [found.name for found in ct.list_schedules()] == ["nightly"]
    assert run("unschedule", "often").stderr.startswith("ScheduleNotFoundError: there is no schedule 'often'")
