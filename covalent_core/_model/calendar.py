"""When a schedule is due: the instants of a cron expression or of an interval, in UTC, and what was missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from math import ceil, isfinite
from typing import NamedTuple

from covalent_core.errors import ScheduleError

#: How late, in seconds, a dispatcher may come to an instant that is not missed yet: another one may just have ended.
LATE_SECONDS = 60.0
#: How many instants that were missed are gone through one by one.
MOST_MISSED = 10_000

#: What the short words mean that cron itself knows.
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Calendar:
    """When something is due. Instants are seconds since the epoch.

    Attributes:
        cron: Five fields, or six with the seconds last, read in the time zone.
        every: Seconds between two instants, where there is no cron expression; the first is `start`.
        zone: The name of the time zone.
        start: Nothing is due before it.
        until: Nothing is due after it.
    """

    cron: str | None
    every: float | None
    zone: str
    start: float
    until: float | None = None

    def after(self, moment: float) -> Iterator[float]:
        """Yield what is due after a moment."""
        instants = self._by_cron(moment) if self.cron else self._by_interval(moment)

        for instant in instants:
            if self.until is not None and instant > self.until:
                return

            yield instant

    def next_after(self, moment: float) -> float | None:
        """Return what is due next after a moment, None if nothing is any more."""
        return next(self.after(moment), None)

    def _by_interval(self, moment: float) -> Iterator[float]:
        assert self.every is not None
        count = max(0, ceil((moment - self.start) / self.every))

        while True:
            instant = self.start + count * self.every
            count += 1

            if instant > moment:
                yield instant

    def _by_cron(self, moment: float) -> Iterator[float]:
        from zoneinfo import ZoneInfo

        from cronsim import CronSim

        # An instant that is just `start` is due.
        begin = max(moment, self.start - 1e-6)

        for instant in CronSim(WORDS.get(str(self.cron), str(self.cron)), _in_zone(begin, ZoneInfo(self.zone))):
            if instant.timestamp() > moment:
                yield instant.timestamp()


class Due(NamedTuple):
    """What is to be done at a moment.

    Attributes:
        instant: What is to be started, if anything is.
        missed: What was due and is not started, oldest first; of many, the newest.
        next_due: What is due next, if anything is.
    """

    instant: float | None
    missed: list[float]
    next_due: float | None


def due_at(calendar: Calendar, due: float, moment: float, catchup: float) -> Due:
    """Return what is to be done when something was due and it is some moment now.

    One instant is started at most, the latest: where nobody has looked for long, for the machine was off, asleep, or
    its clock was set, there is no burst. All others were missed, and so was the latest if it is older than the window.

    Args:
        due: The oldest instant that nothing was done about.
        catchup: How old in seconds an instant may be that is started all the same.
    """
    if due > moment:
        return Due(None, [], due)

    reached = [due]

    for instant in islice(calendar.after(_near(calendar, due, moment)), 2 * MOST_MISSED):
        if instant > moment:
            break

        reached.append(instant)

    latest = reached[-1]
    is_in_time = moment - latest <= max(LATE_SECONDS, catchup)
    missed = reached[:-1] if is_in_time else reached
    return Due(latest if is_in_time else None, missed, calendar.next_after(max(latest, moment)))


def _near(calendar: Calendar, due: float, moment: float) -> float:
    """Return from where to look for what was due since: not from long ago, where that would take long."""
    following = calendar.next_after(due)
    pause = moment - due if following is None else following - due
    return max(due, moment - MOST_MISSED * pause)


def check(calendar: Calendar, now: float) -> None:
    """Refuse a calendar that says no moment, or none that is still to come.

    Raises:
        ScheduleError: It does.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from cronsim import CronSimError

    try:
        ZoneInfo(calendar.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"there is no time zone {calendar.zone!r}; name one like 'Europe/Berlin'") from error

    if calendar.every is not None and not (isfinite(calendar.every) and calendar.every >= 1):
        raise ScheduleError(f"every is {calendar.every!r}, expected a number of seconds from 1 on")

    try:
        following = calendar.next_after(now)
    except CronSimError as error:
        raise ScheduleError(
            f"cron is {calendar.cron!r}, which is no cron expression: {error}; it has the five fields minute, hour, "
            f"day of the month, month and day of the week, then seconds if you want them, or is one of "
            f"{', '.join(WORDS)}"
        ) from error

    if following is None:
        raise ScheduleError("the schedule is never due: it ends before its first instant")


def _in_zone(moment: float, zone: object) -> datetime:
    return datetime.fromtimestamp(moment, timezone.utc).astimezone(zone)  # type: ignore[arg-type]
