"""What the dispatcher reads from the store: what it resumes from, and what has been ordered since.

The statements are made once: to build one anew each time costs SQLAlchemy more than to carry it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, literal_column, select

from covalent_core._model.graph import ExecutorSpec
from covalent_core._model.job import Value
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
)
from covalent_core._store.store import OPEN, Store

_ID: BindParameter[str] = bindparam("dispatch_id")

UNFINISHED = select(dispatches.c.dispatch_id).where(dispatches.c.status.in_(OPEN)).order_by(dispatches.c.created)
NODES = select(nodes).where(nodes.c.dispatch_id == _ID)
PLACES = select(nodes.c.node_id, nodes.c.name, nodes.c.status, nodes.c.error, nodes.c.step).where(
    nodes.c.dispatch_id == _ID
)
EDGES = select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == _ID)
FUNCTIONS = select(functions.c.place, functions.c.content).where(functions.c.dispatch_id == _ID)
EXECUTORS = select(executors).where(
    executors.c.id.in_(select(nodes.c.executor_id).where(nodes.c.dispatch_id == _ID).scalar_subquery())
)
OPEN_JOBS = (
    select(jobs).where(jobs.c.dispatch_id == _ID, jobs.c.released.is_(None)).order_by(literal_column("jobs.rowid"))
)
MEMBERS = select(job_nodes.c.node_id).where(job_nodes.c.ticket == bindparam("ticket")).order_by(job_nodes.c.place)
#: The dispatches of sublattices whose nodes have not ended.
CHILDREN = (
    select(dispatches.c.parent_node_id, dispatches.c.dispatch_id)
    .join(
        nodes,
        (nodes.c.dispatch_id == dispatches.c.parent_dispatch_id) & (nodes.c.node_id == dispatches.c.parent_node_id),
    )
    .where(dispatches.c.parent_dispatch_id == _ID, nodes.c.status.in_(OPEN))
)
FORCED = (
    select(cancel_targets.c.node_id, cancel_orders.c.client)
    .join(cancel_orders, cancel_orders.c.id == cancel_targets.c.order_id)
    .where(cancel_orders.c.dispatch_id == _ID, cancel_orders.c.force)
)
ORDERS_SINCE = (
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

    dispatch: Row[Any]
    nodes: list[Row[Any]]
    edges: list[tuple[int, int]]
    functions: dict[int, Value]
    executors: dict[int, ExecutorSpec]
    #: Not released yet, oldest first, each with its nodes.
    jobs: list[tuple[Row[Any], list[int]]]
    children: list[tuple[int, str]]
    #: By node, who does not want to wait for the proof that it has ended.
    forced: dict[int, str]


class Reading:
    """Reads for the dispatcher. Each is one transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._database = store.database
        self._reader = store.database.engine.raw_connection()
        self._cursor = self._reader.cursor()

    def unfinished(self) -> list[str]:
        """Return the ids of all dispatches that have not ended, oldest first."""
        with self._database.read() as connection:
            return list(connection.execute(UNFINISHED).scalars())

    def load(self, dispatch_id: str) -> StoredDispatch:
        """Return all that the dispatcher needs of a dispatch."""
        here = {"dispatch_id": dispatch_id}

        with self._database.read() as connection:
            return StoredDispatch(
                self.store.find_dispatch(connection, dispatch_id),
                list(connection.execute(NODES, here)),
                [(row.source, row.target) for row in connection.execute(EDGES, here)],
                {row.place: row.content for row in connection.execute(FUNCTIONS, here)},
                {row.id: ExecutorSpec(row.name, row.options) for row in connection.execute(EXECUTORS, here)},
                [(row, _members(connection, row.ticket)) for row in list(connection.execute(OPEN_JOBS, here))],
                [(row.parent_node_id, row.dispatch_id) for row in connection.execute(CHILDREN, here)],
                _forced(connection, dispatch_id),
            )

    def get_nodes(self, dispatch_id: str) -> list[Row[Any]]:
        """Return where the nodes of a dispatch stand: node_id, name, status, error, step."""
        with self._database.read() as connection:
            return list(connection.execute(PLACES, {"dispatch_id": dispatch_id}))

    def get_forced(self, dispatch_id: str) -> dict[int, str]:
        """Return by node who does not want to wait for the proof that it has ended."""
        with self._database.read() as connection:
            return _forced(connection, dispatch_id)

    def get_dispatch(self, dispatch_id: str) -> Row[Any]:
        """Return the row of a dispatch."""
        with self._database.read() as connection:
            return self.store.find_dispatch(connection, dispatch_id)

    def orders_since(self, last: int) -> list[Row[Any]]:
        """Return the cancel orders after `last`: id, dispatch_id, and the dispatch that this is a sublattice of."""
        with self._database.read() as connection:
            return list(connection.execute(ORDERS_SINCE, {"last": last}))

    def last_order(self) -> int:
        """Return the id of the newest cancel order, 0 if there is none. Costs a few microseconds."""
        self._cursor.execute(LAST_ORDER)
        (last,) = self._cursor.fetchone() or (0,)
        return last or 0


def _forced(connection: Connection, dispatch_id: str) -> dict[int, str]:
    return {row.node_id: row.client for row in connection.execute(FORCED, {"dispatch_id": dispatch_id})}


def _members(connection: Connection, ticket: str) -> list[int]:
    return list(connection.execute(MEMBERS, {"ticket": ticket}).scalars())
