"""Schedules, as a client says and sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

from covalent_core._client.moments import instant, seconds
from covalent_core._client.stored import client, new_dispatch, stored_in, wake
from covalent_core._compose.lattice import Lattice
from covalent_core._home import find_home
from covalent_core._model.calendar import Calendar, check
from covalent_core._model.graph import short
from covalent_core.errors import GraphError, ScheduleError

if TYPE_CHECKING:
    from covalent_core._model.cancellation import CancelOutcome
    from covalent_core._store.schedules import Schedules

P = ParamSpec("P")

OVERLAPS = ("skip", "wait", "allow", "cancel")


class Occurrence(NamedTuple):
    """What was done about an instant at which a schedule was due.

    Attributes:
        instant: When it was due.
        time: When that was done.
        outcome: In words: ``started``, ``triggered``, ``missed: …`` or ``skipped: …``.
        dispatch_id: The dispatch that was made, if one was.
    """

    instant: datetime
    time: datetime
    outcome: str
    dispatch_id: str | None


@dataclass(frozen=True)
class Schedule:
    """A schedule as it was when this object was made.

    Attributes:
        name: What it is called.
        lattice: The name of what it dispatches.
        cron: When, as a cron expression read in the time zone `timezone`; None where `every` says it.
        every: Seconds between two instants.
        overlap: What happens while the dispatch before is open.
        paused: Whether nothing of it starts.
        next: The next five instants; none where it is paused or over.
        last: What was done about the last ten instants, newest first.
    """

    name: str
    lattice: str
    cron: str | None
    every: float | None
    timezone: str
    overlap: str
    paused: bool
    next: tuple[datetime, ...]
    last: tuple[Occurrence, ...]


def schedule(
    lattice: Lattice[P, Any],
    *,
    name: str,
    cron: str | None = None,
    every: float | timedelta | None = None,
    timezone: str = "UTC",
    start: datetime | None = None,
    until: datetime | None = None,
    overlap: str = "skip",
    catchup: float | timedelta = 0,
) -> Callable[P, Schedule]:
    """Return a function that takes the lattice's arguments and dispatches it at instants to come, until `unschedule`.

    The graph is built once, now: each dispatch is a copy of it. Each instant makes one dispatch at most, whatever
    becomes of dispatchers. A dispatcher lives while there is a schedule; after the machine was switched off, any client
    or ``covalent-core serve`` brings one back.

    Args:
        name: To schedule a name again replaces the schedule before; what that has started goes on.
        cron: Five fields: minute, hour, day of the month, month, day of the week; seconds may follow as the sixth; or
            a word like ``@daily``. Where clocks are changed it follows Debian's cron: what is due at a fixed time is
            due once that day, what is due each hour or more often follows the clock.
        every: Seconds between two instants, or a timedelta, from one second on. The first is so long after now, or at
            `start`.
        timezone: In which `cron` is read, by its name: ``Europe/Berlin``.
        start: Nothing is due before it; with a time zone.
        until: Nothing is due after it.
        overlap: What to do when the dispatch before is open: ``skip`` the instant, let it ``wait`` (one waits at most:
            the newest), ``allow`` both, or ``cancel`` the one before and start when nothing of it is alive.
        catchup: How old an instant may be, in seconds, that is started when no dispatcher lived or the machine slept:
            of those that were missed it is the latest. Up to a minute is never missed.

    Raises:
        ScheduleError: It says no instant, or makes no sense otherwise.
        GraphError: The lattice does what cannot become a graph; so are the other errors of `dispatch`.
    """
    if not isinstance(lattice, Lattice):
        raise GraphError(f"ct.schedule takes a lattice, not {short(lattice)}; decorate the function with @ct.lattice")

    _check_words(name, cron, every, overlap)
    window = seconds("catchup", catchup)
    pause = None if every is None else seconds("every", every)
    first = _now() + (pause or 0) if start is None else instant("start", start)
    calendar = Calendar(cron, pause, timezone, first, None if until is None else instant("until", until))
    check(calendar, _now())

    def schedule_with(*args: P.args, **kwargs: P.kwargs) -> Schedule:
        from covalent_core._store.schedules import NewSchedule, Schedules

        home = find_home()
        dispatch = new_dispatch(lattice, lattice.build_graph(*args, **kwargs), args, kwargs)
        Schedules(stored_in(home)).add(NewSchedule(name, calendar, dispatch, overlap, window))
        wake(home, f"schedule {name!r} is stored")
        return next(found for found in list_schedules() if found.name == name)

    return schedule_with


def _check_words(name: Any, cron: Any, every: Any, overlap: Any) -> None:
    if (cron is None) == (every is None):
        raise ScheduleError("a schedule needs either cron or every")

    if cron is not None and not isinstance(cron, str):
        raise ScheduleError(f"cron is {cron!r}, expected a text like '*/5 * * * *'")

    if not isinstance(name, str) or not name.strip():
        raise ScheduleError(f"name is {name!r}, expected a text")

    if overlap not in OVERLAPS:
        raise ScheduleError(f"overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}")


def unschedule(name: str, *, reason: str = "Cancelled by user") -> list[CancelOutcome]:
    """End a schedule: cancel what it has open, and prevent all that is to come.

    When this returns both are on disk, in one transaction: nothing of the schedule starts any more.

    Returns:
        What the cancel of each dispatch did that was open.

    Raises:
        ScheduleNotFoundError: There is no schedule of this name.
    """
    home = find_home()
    outcomes = _schedules().end(name, reason, client())

    if any(target.open for outcome in outcomes for target in outcome.targets):
        wake(home, f"schedule {name!r} has ended, and the cancel of what it has open is on disk")

    return outcomes


def pause_schedule(name: str) -> None:
    """Let nothing of a schedule start until `resume_schedule`; what runs goes on.

    Raises:
        ScheduleNotFoundError: There is no schedule of this name.
    """
    _schedules().set_paused(name, True)


def resume_schedule(name: str) -> None:
    """Let a schedule that was paused go on with what is due from now on.

    Raises:
        ScheduleNotFoundError: There is no schedule of this name.
    """
    _schedules().set_paused(name, False)
    wake(find_home(), f"schedule {name!r} goes on")


def trigger(name: str) -> str:
    """Dispatch what a schedule dispatches now, whatever it has open, and return the dispatch id.

    Raises:
        ScheduleNotFoundError: There is no schedule of this name.
    """
    dispatch_id = _schedules().trigger(name)
    wake(find_home(), f"dispatch {dispatch_id} is stored and waits", dispatch_id=dispatch_id)
    return dispatch_id


def list_schedules() -> list[Schedule]:
    """Return the schedules there are, by name."""
    from covalent_core._store.schedules import calendar_of

    return [
        Schedule(
            name=row.name,
            lattice=row.lattice_name,
            cron=row.cron,
            every=row.every,
            timezone=row.zone,
            overlap=row.overlap,
            paused=row.paused,
            next=() if row.paused else tuple(map(_time, islice(calendar_of(row).after(_now()), 5))),
            last=tuple(Occurrence(_time(o.instant), _time(o.at), o.outcome, o.dispatch_id) for o in last),
        )
        for row, last in _schedules().all()
    ]


def _schedules() -> Schedules:
    from covalent_core._store.schedules import Schedules

    return Schedules(stored_in(find_home()))


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, timezone.utc)
