"""What survives: dispatches, nodes, jobs and cancel orders, and how they are added and read."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from covalent_core._home import Home
from covalent_core._model.graph import TransportGraph
from covalent_core._model.job import Value
from covalent_core._model.status import TERMINAL, Status
from covalent_core._model.where import Where
from covalent_core._store.database import Database
from covalent_core._store.rows import NewDispatch, Rows
from covalent_core._store.schema import (
    attempts,
    cancel_orders,
    cancel_targets,
    dispatches,
    edges,
    functions,
    job_nodes,
    jobs,
    nodes,
    schedules,
    status_changes,
    tags,
)
from covalent_core._store.selection import conditions
from covalent_core._store.values import Values
from covalent_core.errors import DispatchNotFoundError

OPEN = [status.value for status in Status if status not in TERMINAL]

#: What is needed for every dispatch: a statement that is made once costs less than one made each time.
DISPATCH = select(dispatches).where(dispatches.c.dispatch_id == bindparam("dispatch_id"))


class Store:
    """The store of one home. Every method is one transaction, on disk when it returns."""

    def __init__(self, home: Home) -> None:
        """Open the store, creating it where it is missing.

        Raises:
            StoreError: It cannot be used where it is.
        """
        self.home = home
        self.database = Database(home)
        self.values = Values(home)
        self.rows = Rows(self.values)

    # --- dispatches ----------------------------------------------------------------------------------------------

    def add_dispatch(self, new: NewDispatch) -> str:
        """Store a new dispatch, whole or not at all, and return its id."""
        dispatch_id = str(uuid.uuid4())

        with self.adding(dispatch_id) as connection:
            self.rows.add_dispatch(connection, dispatch_id, new, {"root_dispatch_id": dispatch_id})

        return dispatch_id

    def add_sublattice(self, parent_id: str, node_id: int, graph: TransportGraph) -> str | None:
        """Store the dispatch of a sublattice; return its id, or None if its node has been cancelled before.

        Called again for the same node, it returns the id of the one that is there.
        """
        dispatch_id = str(uuid.uuid4())

        with self.adding(dispatch_id) as connection:
            there = select(dispatches.c.dispatch_id).where(
                dispatches.c.parent_dispatch_id == parent_id, dispatches.c.parent_node_id == node_id
            )
            parent = self.find_dispatch(connection, parent_id)
            here = select(nodes.c.status).where(nodes.c.dispatch_id == parent_id, nodes.c.node_id == node_id)
            found = connection.execute(there).scalar()

            if found is not None or connection.execute(here).scalar_one() == Status.CANCELLING:
                return found

            new = NewDispatch(graph, parent.client, graph.settings["args"], graph.settings["kwargs"])
            family = {"parent_dispatch_id": parent_id, "parent_node_id": node_id}
            family["root_dispatch_id"] = parent.root_dispatch_id
            self.rows.add_dispatch(connection, dispatch_id, new, family)

        return dispatch_id

    @contextmanager
    def adding(self, dispatch_id: str, what: str = "dispatch") -> Iterator[Connection]:
        """Give a connection to add a dispatch, or a schedule; where it has not come about, its files go."""
        try:
            with self.database.write() as connection:
                yield connection
        except BaseException as error:
            # A Ctrl-C may come when the commit is on disk. Where nobody can say, the files stay.
            with suppress(Exception):
                if not self._has(dispatch_id):
                    self.values.discard_all(dispatch_id)
                elif sys.version_info >= (3, 11):
                    error.add_note(f"{what} {dispatch_id} is stored all the same")

            raise

    def _has(self, dispatch_id: str) -> bool:
        keys = (dispatches.c.dispatch_id, schedules.c.schedule_id)

        with self.database.read() as connection:
            return any(connection.execute(select(key).where(key == dispatch_id)).one_or_none() for key in keys)

    def get_child(self, dispatch_id: str, node_id: int) -> Row[Any] | None:
        """Return the dispatch of a sublattice, if there is one yet."""
        query = select(dispatches).where(
            dispatches.c.parent_dispatch_id == dispatch_id, dispatches.c.parent_node_id == node_id
        )

        with self.database.read() as connection:
            return connection.execute(query).one_or_none()

    def get_output(self, dispatch: Row[Any]) -> Value | None:
        """Return the pickled return value of a dispatch that has COMPLETED."""
        if dispatch.result_node is None:
            return dispatch.result  # type: ignore[no-any-return]

        query = select(nodes.c.output).where(
            nodes.c.dispatch_id == dispatch.dispatch_id, nodes.c.node_id == dispatch.result_node
        )

        with self.database.read() as connection:
            return connection.execute(query).scalar()

    def get_dispatch(self, dispatch_id: str) -> tuple[Row[Any], list[Row[Any]]]:
        """Return the row of a dispatch and the rows of its nodes, as they are at one moment.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            row = self.find_dispatch(connection, dispatch_id)
            query = select(nodes).where(nodes.c.dispatch_id == dispatch_id).order_by(nodes.c.node_id)
            return row, list(connection.execute(query))

    def get_status(self, dispatch_id: str) -> Status:
        """Return where a dispatch stands.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            return Status(self.find_dispatch(connection, dispatch_id).status)

    def get_tags(self, dispatch_id: str) -> list[str]:
        """Return the tags of a dispatch, in alphabetical order."""
        query = select(tags.c.tag).where(tags.c.dispatch_id == dispatch_id).order_by(tags.c.tag)

        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def list_dispatches(
        self, statuses: Iterable[Status] | None, limit: int, where: Where | None = None
    ) -> list[Row[Any]]:
        """Return the rows of the newest dispatches, newest first."""
        query = select(dispatches).order_by(dispatches.c.created.desc()).limit(limit)
        query = query if where is None else query.where(*conditions(where))

        if statuses is not None:
            query = query.where(dispatches.c.status.in_([Status(status).value for status in statuses]))

        with self.database.read() as connection:
            return list(connection.execute(query))

    def has_unfinished(self) -> bool:
        """Return whether any dispatch has not ended."""
        return bool(self.list_dispatches([status for status in Status if not status.terminal], 1))

    def get_jobs(self, dispatch_id: str) -> list[Row[Any]]:
        """Return the jobs of a dispatch by attempt, each row once for every node it runs."""
        query = select(jobs, job_nodes.c.node_id).join(job_nodes, jobs.c.ticket == job_nodes.c.ticket)
        query = query.where(jobs.c.dispatch_id == dispatch_id).order_by(jobs.c.attempt, job_nodes.c.place)

        with self.database.read() as connection:
            return list(connection.execute(query))

    def set_waiting(self, ticket: str, text: str) -> None:
        """Say what a job waits for, from any thread; the dispatcher itself does so with its journal."""
        with self.database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.ticket == ticket).values(waiting=text))

    def get_functions(self, dispatch_id: str) -> dict[int, Value]:
        """Return the pickled functions of a dispatch by their places."""
        query = select(functions.c.place, functions.c.content).where(functions.c.dispatch_id == dispatch_id)

        with self.database.read() as connection:
            return {row.place: row.content for row in connection.execute(query)}

    def get_needs(self, dispatch_id: str) -> dict[int, list[int]]:
        """Return the nodes that each node needs."""
        query = select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == dispatch_id)
        needs: dict[int, list[int]] = {}

        with self.database.read() as connection:
            for row in connection.execute(query):
                needs.setdefault(row.target, []).append(row.source)

        return needs

    def get_attempts(self, dispatch_id: str, node_id: int) -> list[Row[Any]]:
        """Return the attempts at a node that failed and were followed by another, oldest first."""
        query = select(attempts).where(attempts.c.dispatch_id == dispatch_id, attempts.c.node_id == node_id)

        with self.database.read() as connection:
            return list(connection.execute(query.order_by(attempts.c.attempt)))

    def get_status_changes(self, dispatch_id: str) -> list[Row[Any]]:
        """Return every status change of a dispatch and its nodes, in the order in which they happened."""
        with self.database.read() as connection:
            return list(connection.execute(select(status_changes).where(status_changes.c.dispatch_id == dispatch_id)))

    def get_cancel_orders(self, dispatch_id: str) -> list[tuple[Row[Any], dict[int, str]]]:
        """Return every cancel order for a dispatch, and what became of its targets when it was given."""
        query = select(cancel_orders).where(cancel_orders.c.dispatch_id == dispatch_id).order_by(cancel_orders.c.id)

        with self.database.read() as connection:
            return [(row, self._targets(connection, row.id)) for row in list(connection.execute(query))]

    def _targets(self, connection: Connection, order_id: int) -> dict[int, str]:
        query = select(cancel_targets).where(cancel_targets.c.order_id == order_id)
        return {row.node_id: row.outcome for row in connection.execute(query)}

    def find_dispatch(self, connection: Connection, dispatch_id: str) -> Any:
        """Return the row of a dispatch, read on a connection that is open.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        return self.the_dispatch(dispatch_id, list(connection.execute(DISPATCH, {"dispatch_id": dispatch_id})))

    def the_dispatch(self, dispatch_id: str, rows: Sequence[Any]) -> Any:
        """Return the only one of the rows that were found for an id.

        Raises:
            DispatchNotFoundError: There is none.
        """
        if not rows:
            raise DispatchNotFoundError(
                f"no dispatch {dispatch_id!r} in {self.home.database}; ct.list_dispatches() shows those that are there"
            )

        return rows[0]
