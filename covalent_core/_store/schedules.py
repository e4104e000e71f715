"""Schedules: stored whole, and each instant made a dispatch in one transaction with what is due next."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, case, desc, insert, literal, select, update

from covalent_core._model.calendar import Calendar, due_at
from covalent_core._model.cancellation import CancelOutcome
from covalent_core._model.status import Status
from covalent_core._store.database import now
from covalent_core._store.orders import cancel_within
from covalent_core._store.reading import OPEN_SCHEDULE, WAITS
from covalent_core._store.rows import NewDispatch
from covalent_core._store.schema import dispatches, edges, functions, nodes, occurrences, schedules
from covalent_core._store.store import OPEN, Store
from covalent_core.errors import ScheduleNotFoundError

#: What is kept of instants that were missed together: the newest.
KEPT_MISSED = 10
#: What a dispatch has of its schedule as it is.
COPIED = ("args", "kwargs", "client", "timeout", "pack", "result_node", "result", "lattice", "call")


@dataclass(frozen=True)
class NewSchedule:
    """A schedule that is to be stored.

    Attributes:
        name: To schedule a name again ends the schedule before; what it has started goes on.
        overlap: What to do while the dispatch before is open: ``skip``, ``wait``, ``allow`` or ``cancel`` it.
        catchup: How old in seconds an instant may be that is started all the same.
    """

    name: str
    calendar: Calendar
    dispatch: NewDispatch
    overlap: str
    catchup: float


class Schedules:
    """The schedules of a store. Every method is one transaction, on disk when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, new: NewSchedule) -> str:
        """Store a schedule in place of the one of its name, and return its id."""
        schedule_id, time = str(uuid.uuid4()), now()
        row = {"schedule_id": schedule_id, "name": new.name, "overlap": new.overlap, "catchup": new.catchup}
        row |= {"created": time, "next_due": new.calendar.next_after(time), **asdict(new.calendar)}

        with self._store.adding(schedule_id, f"schedule {new.name!r}") as connection:
            connection.execute(
                update(schedules).where(OPEN_SCHEDULE & (schedules.c.name == new.name)).values(ended=time)
            )
            self._store.rows.add_graph(connection, schedule_id, new.dispatch.graph, {})
            row |= {"lattice_name": new.dispatch.graph.lattice, **self._store.rows.described(schedule_id, new.dispatch)}
            connection.execute(insert(schedules), row)

        return schedule_id

    def tick(self) -> list[str]:
        """Do what is due of every schedule; return the ids of the dispatches that were made."""
        with self._store.database.read() as connection:
            found = connection.execute(select(schedules.c.schedule_id).where(WAITS)).scalars().all()

        made = (self._tick_one(schedule_id) for schedule_id in found)
        return [dispatch_id for dispatch_id in made if dispatch_id is not None]

    def trigger(self, name: str) -> str:
        """Make a dispatch of a schedule now, whatever else it has open, and return its id.

        Raises:
            ScheduleNotFoundError: There is none of this name.
        """
        with self._named(name) as (connection, row):
            return self._start(connection, row, now(), "triggered")

    def set_paused(self, name: str, paused: bool) -> None:
        """Let nothing of a schedule start, or again what is due from now on.

        Raises:
            ScheduleNotFoundError: There is none of this name.
        """
        with self._named(name) as (connection, row):
            due = {} if paused else {"next_due": calendar_of(row).next_after(now())}
            self._update(connection, row, paused=paused, pending=None, **due)

    def end(self, name: str, reason: str, client: str) -> list[CancelOutcome]:
        """End a schedule and cancel what it has open. When this returns, nothing of it starts any more.

        Raises:
            ScheduleNotFoundError: There is none of this name.
        """
        with self._named(name) as (connection, row):
            self._update(connection, row, ended=now(), pending=None)
            return [
                cancel_within(connection, found, reason, client) for found in self._open_dispatches(connection, name)
            ]

    def all(self) -> list[tuple[Row[Any], list[Row[Any]]]]:
        """Return the schedules that have not ended, by name, each with the last ten instants, newest first."""
        with self._store.database.read() as connection:
            rows = connection.execute(select(schedules).where(OPEN_SCHEDULE).order_by(schedules.c.name)).all()
            return [(row, self._last(connection, row.schedule_id)) for row in rows]

    # --- one instant -----------------------------------------------------------------------------------------------

    def _tick_one(self, schedule_id: str) -> str | None:
        with self._store.database.write() as connection:
            # Only now: somebody may have ended it, or have done the same.
            row = connection.execute(
                select(schedules).where(WAITS & (schedules.c.schedule_id == schedule_id))
            ).one_or_none()
            return None if row is None else self._do_what_is_due(connection, row)

    def _do_what_is_due(self, connection: Connection, row: Row[Any]) -> str | None:
        instant, outcome = row.pending, "started late: the one before was open"

        if row.next_due is not None and row.next_due <= now():
            due = due_at(calendar_of(row), row.next_due, now(), row.catchup)
            self._note(connection, row, due.missed[-KEPT_MISSED:], "missed: nothing ran that could start it")
            self._update(connection, row, next_due=due.next_due)

            if due.instant is not None:
                # One waits at most: the newest.
                self._note(connection, row, [] if instant is None else [instant], "skipped: a later one waits")
                instant, outcome = due.instant, "started"

        if instant is None:
            return None

        open_dispatches = self._open_dispatches(connection, row.name)

        if not open_dispatches or row.overlap == "allow":
            self._update(connection, row, pending=None)
            return self._start(connection, row, instant, outcome)

        self._overlap(connection, row, instant, open_dispatches)
        return None

    def _overlap(self, connection: Connection, row: Row[Any], instant: float, open_dispatches: Sequence[str]) -> None:
        if row.overlap == "skip":
            self._note(connection, row, [instant], f"skipped: {open_dispatches[0]} was open")
        elif instant != row.pending:
            self._update(connection, row, pending=instant)

            if row.overlap == "cancel":
                for dispatch_id in open_dispatches:
                    cancel_within(connection, dispatch_id, f"the next one of schedule {row.name!r} is due", "schedule")

    def _start(self, connection: Connection, row: Row[Any], instant: float, outcome: str) -> str:
        """Make the dispatch of an instant, a copy of what was stored with the schedule."""
        dispatch_id, time = str(uuid.uuid4()), now()
        ended = {name: case((nodes.c[name].is_not(None), literal(time))) for name in ("started", "ended")}

        for table, changed in ((nodes, ended), (edges, {}), (functions, {})):
            _copy(connection, table, row.schedule_id, {"dispatch_id": literal(dispatch_id), **changed})

        values = {"dispatch_id": dispatch_id, "root_dispatch_id": dispatch_id, "name": row.lattice_name}
        values |= {"status": Status.NEW_OBJECT.value, "created": time, "schedule": row.name, "due": instant}
        connection.execute(insert(dispatches), values | {name: row._mapping[name] for name in COPIED})
        self._note(connection, row, [instant], outcome, dispatch_id)
        return dispatch_id

    # --- parts of a transaction --------------------------------------------------------------------------------------

    @contextmanager
    def _named(self, name: str) -> Iterator[tuple[Connection, Row[Any]]]:
        with self._store.database.write() as connection:
            query = select(schedules).where(OPEN_SCHEDULE & (schedules.c.name == name))
            row = connection.execute(query).one_or_none()

            if row is None:
                raise ScheduleNotFoundError(
                    f"there is no schedule {name!r} in {self._store.home.folder}; ct.list_schedules() shows those there"
                )

            yield connection, row

    def _update(self, connection: Connection, row: Row[Any], **values: Any) -> None:
        connection.execute(update(schedules).where(schedules.c.schedule_id == row.schedule_id).values(**values))

    def _note(
        self,
        connection: Connection,
        row: Row[Any],
        instants: Sequence[float],
        outcome: str,
        dispatch_id: str | None = None,
    ) -> None:
        here = {"schedule_id": row.schedule_id, "at": now(), "outcome": outcome, "dispatch_id": dispatch_id}

        for instant in instants:
            connection.execute(insert(occurrences), {**here, "instant": instant})

    def _open_dispatches(self, connection: Connection, name: str) -> list[str]:
        query = select(dispatches.c.dispatch_id).where(dispatches.c.schedule == name, dispatches.c.status.in_(OPEN))
        return list(connection.execute(query.order_by(dispatches.c.created)).scalars())

    def _last(self, connection: Connection, schedule_id: str) -> list[Row[Any]]:
        query = select(occurrences).where(occurrences.c.schedule_id == schedule_id)
        return list(connection.execute(query.order_by(desc(occurrences.c.instant)).limit(10)))


def calendar_of(row: Row[Any]) -> Calendar:
    return Calendar(row.cron, row.every, row.zone, row.start, row.until)


def _copy(connection: Connection, table: Table, source: str, changed: dict[str, ColumnElement[Any]]) -> None:
    """Copy the rows of one dispatch, or of a schedule, for another."""
    columns = [changed.get(column.name, column) for column in table.c]
    query = select(*columns).where(table.c.dispatch_id == source)
    connection.execute(insert(table).from_select([column.name for column in table.c], query))
