"""When a schedule is due, over the nights on which clocks are changed and whatever becomes of the machine."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import pytest

from covalent_core._model.calendar import LATE_SECONDS, MOST_MISSED, Calendar, due_at

AUTUMN, SPRING = (2026, 10, 25), (2026, 3, 29)


def moment(*date: int, zone: str = "Europe/Berlin") -> float:
    return datetime(*date, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type, misc]


def cron(expression: str, zone: str = "Europe/Berlin") -> Calendar:
    return Calendar(expression, None, zone, 0.0)


def on(calendar: Calendar, *date: int) -> list[str]:
    """Return what is due on a day, as the clock on the wall shows it."""
    zone = ZoneInfo(calendar.zone)
    begin = datetime(*date, tzinfo=zone)  # type: ignore[arg-type, misc]
    end = (begin + timedelta(days=1)).timestamp()
    found = islice(calendar.after(begin.timestamp() - 1), 3000)
    return [f"{datetime.fromtimestamp(i, zone):%H:%M}" for i in found if i < end]


@pytest.mark.parametrize(
    ("expression", "zone", "date", "due"),
    [
        ("30 2 * * *", "Europe/Berlin", AUTUMN, ["02:30"]),
        ("30 2 * * *", "Europe/Berlin", SPRING, ["03:00"]),
        ("10 0 * * *", "Europe/Berlin", AUTUMN, ["00:10"]),
        ("10 0 * * *", "Europe/Berlin", SPRING, ["00:10"]),
        ("30 1 * * *", "Europe/London", AUTUMN, ["01:30"]),
        ("30 1 * * *", "Europe/London", SPRING, ["02:00"]),
        ("30 1 * * *", "America/New_York", (2026, 11, 1), ["01:30"]),
        ("30 2 * * *", "America/New_York", (2026, 3, 8), ["03:00"]),
        # Half an hour, and a day that was left out.
        ("45 1 * * *", "Australia/Lord_Howe", (2026, 4, 5), ["01:45"]),
        ("15 2 * * *", "Australia/Lord_Howe", (2026, 10, 4), ["02:30"]),
    ],
)
def test_what_is_due_at_a_fixed_time_is_due_once_a_day(
    expression: str, zone: str, date: tuple[int, int, int], due: list[str]
) -> None:
    assert on(cron(expression, zone), *date) == due


@pytest.mark.parametrize(("date", "hours"), [(AUTUMN, 25), (SPRING, 23)])
def test_what_is_due_each_hour_follows_the_clock(date: tuple[int, int, int], hours: int) -> None:
    assert len(on(cron("30 * * * *"), *date)) == hours


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 * * * *", "*/7 * * * *", "10 0 * * *"])
@pytest.mark.parametrize("date", [AUTUMN, SPRING])
def test_from_wherever_it_is_asked_the_instants_are_the_same(expression: str, date: tuple[int, int, int]) -> None:
    calendar = cron(expression)
    begin = moment(*date) - 3600
    instants = [i for i in islice(calendar.after(begin), 400) if i < begin + 30 * 3600]

    for second in range(0, 26 * 3600, 97):
        asked = begin + second
        assert calendar.next_after(asked) == next((i for i in instants if i > asked), calendar.next_after(instants[-1]))


def test_what_falls_into_a_day_that_was_left_out_is_due_right_after_it() -> None:
    # Samoa went from the 29th of December 2011 to the 31st.
    zone = ZoneInfo("Pacific/Apia")
    found = islice(cron("0 12 * * *", "Pacific/Apia").after(moment(2011, 12, 29, zone="Pacific/Apia")), 3)

    assert [f"{datetime.fromtimestamp(i, zone):%d %H:%M}" for i in found] == ["29 12:00", "31 00:00", "31 12:00"]


def test_an_interval_begins_at_its_start_and_keeps_to_it() -> None:
    calendar = Calendar(None, 90.0, "UTC", 1000.0, 1270.0)

    assert list(calendar.after(0)) == [1000.0, 1090.0, 1180.0, 1270.0]
    assert list(calendar.after(1000.0)) == [1090.0, 1180.0, 1270.0]
    assert list(calendar.after(1089.9)) == [1090.0, 1180.0, 1270.0]
    assert calendar.next_after(1270.0) is None


def test_nothing_is_done_before_it_is_due() -> None:
    assert due_at(Calendar(None, 60.0, "UTC", 1000.0), 1000.0, 999.9, 0) == (None, [], 1000.0)


def test_one_that_is_a_little_late_is_started() -> None:
    calendar = Calendar(None, 3600.0, "UTC", 3600.0)

    assert due_at(calendar, 3600.0, 3600.0 + LATE_SECONDS, 0) == (3600.0, [], 7200.0)
    assert due_at(calendar, 3600.0, 3601.0 + LATE_SECONDS, 0) == (None, [3600.0], 7200.0)


def test_who_has_slept_starts_one_and_not_a_burst() -> None:
    calendar = Calendar(None, 1.0, "UTC", 0.0)
    due = due_at(calendar, 100.0, 120.5, 0)

    assert (due.instant, due.missed, due.next_due) == (120.0, [float(n) for n in range(100, 120)], 121.0)


def test_the_window_says_how_old_the_latest_may_be() -> None:
    calendar = Calendar(None, 3600.0, "UTC", 0.0)

    assert due_at(calendar, 3600.0, 4 * 3600.0 + 600, 599).instant is None
    assert due_at(calendar, 3600.0, 4 * 3600.0 + 600, 600).instant == 4 * 3600.0


def test_after_years_the_old_instants_are_not_gone_through() -> None:
    second = Calendar("* * * * * *", None, "UTC", 0.0)
    due = due_at(second, 0.0, 1_800_000_000.0, 0)

    assert due.instant == 1_800_000_000.0
    assert due.next_due == 1_800_000_001.0
    assert len(due.missed) <= 2 * MOST_MISSED


@pytest.mark.parametrize("seed", range(20))
def test_whatever_becomes_of_the_clock_no_instant_is_started_twice(seed: int) -> None:
    random = Random(seed)
    calendar = Calendar(None, random.choice([1.0, 7.0, 600.0]), "UTC", 1000.0)
    clock, due, started = 1000.0, calendar.start, []

    for _ in range(1000):
        clock += random.choice([0.1, 0.5, 3.0, 7200.0, -7200.0])
        done = due_at(calendar, due, clock, random.choice([0, 60, 7200]))
        started += [] if done.instant is None else [done.instant]
        assert done.next_due is not None
        assert done.next_due >= due
        due = done.next_due

    assert len(set(started)) == len(started)
    assert started == sorted(started)
