"""What the dispatcher reads from the store: what it resumes from, and what has been ordered since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, literal_column, or_, select
from sqlalchemy.engine.interfaces import DBAPICursor

from covalent_core._model.cancellation import Haste
from covalent_core._model.graph import ExecutorSpec
from covalent_core._model.job import Value
from covalent_core._store.prepared import Query, is_one_of
from covalent_core._store.schema import (
    cancel_orders,
    cancel_targets,
    dispatches,
    edges,
    executors,
    functions,
    job_nodes,
    jobs,
    nodes,
    schedules,
)
from covalent_core._store.store import OPEN, Store

_ID: BindParameter[str] = bindparam("dispatch_id")

UNFINISHED = Query(
    select(dispatches.c.dispatch_id, dispatches.c.not_before, dispatches.c.started)
    .where(is_one_of(dispatches.c.status, OPEN))
    .order_by(dispatches.c.created)
)
OPEN_SCHEDULE = schedules.c.ended.is_(None)
#: Schedules of which something is due some day, or waits for the dispatch before it to end.
WAITS = and_(
    OPEN_SCHEDULE,
    schedules.c.paused.is_(False),
    or_(schedules.c.next_due.is_not(None), schedules.c.pending.is_not(None)),
)
SCHEDULED = Query(select(schedules.c.next_due, schedules.c.pending).where(WAITS))
DISPATCH = Query(select(dispatches).where(dispatches.c.dispatch_id == _ID))
NODES = Query(select(nodes).where(nodes.c.dispatch_id == _ID))
_PLACE = (nodes.c.node_id, nodes.c.name, nodes.c.status, nodes.c.error, nodes.c.step)
PLACES = Query(select(*_PLACE).where(nodes.c.dispatch_id == _ID))
EDGES = Query(select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == _ID))
FUNCTIONS = Query(select(functions.c.place, functions.c.content).where(functions.c.dispatch_id == _ID))
EXECUTORS = Query(
    select(executors).where(
        executors.c.id.in_(select(nodes.c.executor_id).where(nodes.c.dispatch_id == _ID).scalar_subquery())
    )
)
OPEN_JOBS = Query(
    select(jobs).where(jobs.c.dispatch_id == _ID, jobs.c.released.is_(None)).order_by(literal_column("jobs.rowid"))
)
OPEN_TICKETS = Query(select(jobs.c.ticket).where(jobs.c.released.is_(None)))
MEMBERS = Query(
    select(job_nodes.c.node_id).where(job_nodes.c.ticket == bindparam("ticket")).order_by(job_nodes.c.place)
)
#: The dispatches of sublattices whose nodes have not ended.
CHILDREN = Query(
    select(dispatches.c.parent_node_id, dispatches.c.dispatch_id)
    .join(
        nodes,
        (nodes.c.dispatch_id == dispatches.c.parent_dispatch_id) & (nodes.c.node_id == dispatches.c.parent_node_id),
    )
    .where(dispatches.c.parent_dispatch_id == _ID, is_one_of(nodes.c.status, OPEN))
)
HASTE = Query(
    select(cancel_targets.c.node_id, cancel_orders.c.client, cancel_orders.c.force, cancel_orders.c.grace)
    .join(cancel_orders, cancel_orders.c.id == cancel_targets.c.order_id)
    .where(cancel_orders.c.dispatch_id == _ID, cancel_orders.c.force | cancel_orders.c.grace.is_not(None))
    .order_by(cancel_orders.c.id)
)
ORDERS_SINCE = Query(
    select(cancel_orders.c.id, cancel_orders.c.dispatch_id, dispatches.c.parent_dispatch_id)
    .join(dispatches, dispatches.c.dispatch_id == cancel_orders.c.dispatch_id)
    .where(cancel_orders.c.id > bindparam("last"))
    .order_by(cancel_orders.c.id)
)
#: Asked before every step of every job.
LAST_ORDER = "SELECT max(id) FROM cancel_orders"


@dataclass
class StoredDispatch:
    """A dispatch as a dispatcher takes it up: new, or left behind by one that is gone."""

    dispatch: Any
    nodes: list[Any]
    edges: list[tuple[int, int]]
    functions: dict[int, Value]
    executors: dict[int, ExecutorSpec]
    #: Not released yet, oldest first, each with its nodes.
    jobs: list[tuple[Any, list[int]]]
    children: list[tuple[int, str]]
    #: By node, what has been said of how it is to be ended.
    haste: dict[int, Haste]


class Reading:
    """Reads for the dispatcher, all in one thread. Each is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._database = store.database
        self._reader = store.database.engine.raw_connection()
        self._cursor = self._reader.cursor()

    def unfinished(self) -> list[tuple[str, float]]:
        """Return the ids of all dispatches that have not ended, oldest first, and when each may start.

        One that has started may go on, also where the clock was set back since.
        """
        rows = UNFINISHED.rows(self._cursor)
        return [(row.dispatch_id, 0.0 if row.started else row.not_before or 0.0) for row in rows]

    def next_tick(self) -> float | None:
        """Return when something of a schedule is to be done: 0 where that depends on a dispatch, None where never."""
        rows = SCHEDULED.rows(self._cursor)
        return min((row.next_due if row.pending is None else 0.0 for row in rows), default=None)

    def load(self, dispatch_id: str) -> StoredDispatch:
        """Return all that the dispatcher needs of a dispatch, as it is at one moment."""
        here = {"dispatch_id": dispatch_id}

        with self._one_moment() as cursor:
            return StoredDispatch(
                self.get_dispatch(dispatch_id),
                NODES.rows(cursor, **here),
                [(row.source, row.target) for row in EDGES.rows(cursor, **here)],
                {row.place: row.content for row in FUNCTIONS.rows(cursor, **here)},
                {row.id: ExecutorSpec(row.name, row.options) for row in EXECUTORS.rows(cursor, **here)},
                [(row, self._members(row.ticket)) for row in OPEN_JOBS.rows(cursor, **here)],
                [(row.parent_node_id, row.dispatch_id) for row in CHILDREN.rows(cursor, **here)],
                self.get_haste(dispatch_id),
            )

    @contextmanager
    def _one_moment(self) -> Iterator[DBAPICursor]:
        self._cursor.execute("BEGIN")

        try:
            yield self._cursor
        finally:
            self._cursor.execute("COMMIT")

    def _members(self, ticket: str) -> list[int]:
        return [row.node_id for row in MEMBERS.rows(self._cursor, ticket=ticket)]

    def get_nodes(self, dispatch_id: str) -> list[Any]:
        """Return where the nodes of a dispatch stand: node_id, name, status, error, step."""
        return PLACES.rows(self._cursor, dispatch_id=dispatch_id)

    def open_tickets(self) -> set[str]:
        """Return the tickets of all jobs that have not been released."""
        return {row.ticket for row in OPEN_TICKETS.rows(self._cursor)}

    def get_haste(self, dispatch_id: str) -> dict[int, Haste]:
        """Return by node what cancel orders say of how it is to be ended, where they say anything."""
        found: dict[int, Haste] = {}

        for row in HASTE.rows(self._cursor, dispatch_id=dispatch_id):
            said = Haste(row.grace, row.client if row.force else None)
            found[row.node_id] = said.joined(found.get(row.node_id, Haste()))

        return found

    def get_dispatch(self, dispatch_id: str) -> Any:
        """Return the row of a dispatch.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        return self.store.the_dispatch(dispatch_id, DISPATCH.rows(self._cursor, dispatch_id=dispatch_id))

    def orders_since(self, last: int) -> list[Any]:
        """Return the cancel orders after `last`: id, dispatch_id, and the dispatch that this is a sublattice of."""
        return ORDERS_SINCE.rows(self._cursor, last=last)

    def last_order(self) -> int:
        """Return the id of the newest cancel order, 0 if there is none. Costs a few microseconds."""
        self._cursor.execute(LAST_ORDER)
        (last,) = self._cursor.fetchone() or (0,)
        return last or 0
