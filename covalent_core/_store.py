"""What survives: dispatches, nodes, jobs and cancel orders, and the verbs that clients use on them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from covalent_core._cancellation import OUTCOMES, CancelOutcome, CancelTarget, downstream
from covalent_core._database import Database, now
from covalent_core._graph import ExecutorSpec, Node, TransportGraph
from covalent_core._home import Home
from covalent_core._schema import (
    cancel_orders,
    cancel_targets,
    dispatches,
    edges,
    executors,
    functions,
    job_nodes,
    jobs,
    nodes,
    status_changes,
)
from covalent_core._status import TERMINAL, Status, final_status
from covalent_core._values import Values
from covalent_core.errors import DispatchNotFoundError, NodeNotFoundError

OPEN = [status.value for status in Status if status not in TERMINAL]


def is_one_of(column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Return a condition like IN, in a form that a statement for many rows at once can have."""
    return or_(*(column == value for value in values))


_CANCELLING = {"b_status": Status.CANCELLING.value, "b_ended": None}
_STOP_NODE = (
    update(nodes)
    .where(
        nodes.c.dispatch_id == bindparam("b_dispatch"),
        nodes.c.node_id == bindparam("b_node"),
        is_one_of(nodes.c.status, [status for status in OPEN if status != Status.CANCELLING]),
    )
    .values(
        status=bindparam("b_status"),
        cancel_requested=bindparam("b_requested"),
        error=bindparam("b_error"),
        ended=bindparam("b_ended"),
    )
)


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

    # --- dispatches ----------------------------------------------------------------------------------------------

    def add_dispatch(self, graph: TransportGraph, args: Sequence[str], kwargs: dict[str, str], client: str) -> str:
        """Store a new dispatch, whole or not at all, and return its id."""
        dispatch_id = str(uuid.uuid4())

        try:
            with self.database.write() as connection:
                self._insert_graph(connection, dispatch_id, graph)
                connection.execute(
                    insert(dispatches),
                    {
                        "dispatch_id": dispatch_id,
                        "name": graph.lattice,
                        "status": Status.NEW_OBJECT.value,
                        "created": now(),
                        "args": json.dumps(args),
                        "kwargs": json.dumps(kwargs),
                        "client": client,
                        "result": self.values.keep(dispatch_id, "result", graph.result),
                    },
                )
        except BaseException:
            self.values.discard_all(dispatch_id)
            raise

        return dispatch_id

    def _insert_graph(self, connection: Connection, dispatch_id: str, graph: TransportGraph) -> None:
        specs = {node.executor for node in graph.nodes if node.executor}
        known = {spec: self._executor_id(connection, spec) for spec in specs}
        rows = [self._node_row(dispatch_id, node, known) for node in graph.nodes]
        pickled = [
            {
                "dispatch_id": dispatch_id,
                "place": place,
                "content": self.values.keep(dispatch_id, f"function-{place}", content),
            }
            for place, content in enumerate(graph.functions)
        ]
        arrows = [{"dispatch_id": dispatch_id, "source": source, "target": target} for source, target in graph.edges]

        for table, values in ((nodes, rows), (functions, pickled), (edges, arrows)):
            if values:
                connection.execute(insert(table), values)

    def _executor_id(self, connection: Connection, spec: ExecutorSpec) -> int:
        row = {"name": spec.name, "options": spec.options}
        connection.execute(insert_or_ignore(executors).on_conflict_do_nothing(), row)
        found = select(executors.c.id).where(executors.c.name == spec.name, executors.c.options == spec.options)
        return int(connection.execute(found).scalar_one())

    def _node_row(self, dispatch_id: str, node: Node, known: dict[ExecutorSpec, int]) -> dict[str, Any]:
        ready = now() if node.value is not None else None
        return {
            "dispatch_id": dispatch_id,
            "node_id": node.node_id,
            "name": node.name,
            "status": Status.NEW_OBJECT.value if ready is None else Status.COMPLETED.value,
            "function": node.function,
            "executor_id": known[node.executor] if node.executor else None,
            "started": ready,
            "ended": ready,
            "call": self.values.keep(dispatch_id, f"call-{node.node_id}", node.call),
            "output": self.values.keep(dispatch_id, f"output-{node.node_id}", node.value),
        }

    def get_dispatch(self, dispatch_id: str) -> tuple[Row[Any], list[Row[Any]]]:
        """Return the row of a dispatch and the rows of its nodes, as they are at one moment.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            row = self._dispatch(connection, dispatch_id)
            query = select(nodes).where(nodes.c.dispatch_id == dispatch_id).order_by(nodes.c.node_id)
            return row, list(connection.execute(query))

    def get_status(self, dispatch_id: str) -> Status:
        """Return where a dispatch stands.

        Raises:
            DispatchNotFoundError: There is none of this id.
        """
        with self.database.read() as connection:
            return Status(self._dispatch(connection, dispatch_id).status)

    def list_dispatches(self, statuses: Iterable[Status] | None, limit: int) -> list[Row[Any]]:
        """Return the rows of the newest dispatches, newest first."""
        query = select(dispatches).order_by(dispatches.c.created.desc()).limit(limit)

        if statuses is not None:
            query = query.where(dispatches.c.status.in_([Status(status).value for status in statuses]))

        with self.database.read() as connection:
            return list(connection.execute(query))

    def has_unfinished(self) -> bool:
        """Return whether any dispatch has not ended."""
        return bool(self.list_dispatches([status for status in Status if not status.terminal], 1))

    def get_jobs(self, dispatch_id: str) -> list[Row[Any]]:
        """Return the jobs of a dispatch, each row once for every node it runs."""
        query = select(jobs, job_nodes.c.node_id).join(job_nodes, jobs.c.ticket == job_nodes.c.ticket)

        with self.database.read() as connection:
            return list(connection.execute(query.where(jobs.c.dispatch_id == dispatch_id).order_by(job_nodes.c.place)))

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

    def _dispatch(self, connection: Connection, dispatch_id: str) -> Row[Any]:
        row = connection.execute(select(dispatches).where(dispatches.c.dispatch_id == dispatch_id)).one_or_none()

        if row is None:
            raise DispatchNotFoundError(
                f"no dispatch {dispatch_id!r} in {self.home.database}; ct.list_dispatches() shows those that are there"
            )

        return row

    # --- cancelling ----------------------------------------------------------------------------------------------

    def request_cancel(
        self, dispatch_id: str, task_ids: Sequence[int] | None, reason: str, client: str
    ) -> CancelOutcome:
        """Order that nodes, or the whole dispatch, be cancelled. The order is on disk when this returns.

        What has not started never will: it is CANCELLED here and now, with everything downstream of it. What runs is
        CANCELLING from here on, whatever it still returns; ending it is the dispatcher's work.

        Raises:
            DispatchNotFoundError: There is no such dispatch.
            NodeNotFoundError: It has no such node; then nothing is cancelled.
        """
        with self.database.write() as connection:
            self._dispatch(connection, dispatch_id)
            query = select(nodes.c.node_id, nodes.c.name, nodes.c.status).where(nodes.c.dispatch_id == dispatch_id)
            found = {row.node_id: row for row in connection.execute(query)}
            _check_nodes(dispatch_id, task_ids, found)
            named = sorted(found) if task_ids is None else sorted(set(task_ids))
            every = [CancelTarget(n, found[n].name, OUTCOMES[Status(found[n].status)]) for n in named]
            chosen = tuple(t for t in every if task_ids is not None or not t.outcome.startswith("too late"))
            outcome = CancelOutcome(dispatch_id, task_ids is None, reason, chosen)
            self._record_order(connection, outcome, task_ids, client)

            if outcome:
                self._stop_nodes(connection, outcome, found)
                self._close_dispatch(connection, outcome)

        return outcome

    def _record_order(
        self, connection: Connection, outcome: CancelOutcome, task_ids: Sequence[int] | None, client: str
    ) -> None:
        order = {
            "dispatch_id": outcome.dispatch_id,
            "task_ids": None if task_ids is None else json.dumps(sorted(task_ids)),
            "reason": outcome.reason,
            "client": client,
            "at": now(),
        }
        order_id = connection.execute(insert(cancel_orders).returning(cancel_orders.c.id), order).scalar_one()
        rows = [{"order_id": order_id, "node_id": t.node_id, "outcome": t.outcome} for t in outcome.targets]

        if rows:
            connection.execute(insert(cancel_targets), rows)

    def _stop_nodes(self, connection: Connection, outcome: CancelOutcome, found: Mapping[int, Any]) -> None:
        dispatch_id, reason = outcome.dispatch_id, outcome.reason
        stopped = [target for target in outcome.targets if target.stopped]
        query = select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == dispatch_id)
        arrows = [(row.source, row.target) for row in connection.execute(query)]
        below = downstream(arrows, {target.node_id for target in stopped})
        rows = [
            {"b_node": target.node_id, "b_dispatch": dispatch_id, "b_error": reason, "b_requested": True}
            | ({"b_status": Status.CANCELLED.value, "b_ended": now()} if target.outcome == "prevented" else _CANCELLING)
            for target in stopped
        ]
        rows += [
            {"b_node": node_id, "b_dispatch": dispatch_id, "b_requested": False, "b_status": Status.CANCELLED.value}
            | {"b_ended": now(), "b_error": upstream(source, found[source].name, "cancelled")}
            for node_id, source in below.items()
        ]
        connection.execute(_STOP_NODE, rows)

    def _close_dispatch(self, connection: Connection, outcome: CancelOutcome) -> None:
        """Write what the order means for the dispatch as a whole: if nothing is left to be done, its end."""
        here = dispatches.c.dispatch_id == outcome.dispatch_id
        values: dict[str, Any] = {}

        if outcome.whole:
            values = {"cancel_requested": True, "error": outcome.reason, "status": Status.CANCELLING.value}

        query = select(nodes.c.status).where(nodes.c.dispatch_id == outcome.dispatch_id)
        statuses = [Status(status) for status in connection.execute(query).scalars()]
        query = select(func.count()).where(jobs.c.dispatch_id == outcome.dispatch_id, jobs.c.released.is_(None))

        if all(status.terminal for status in statuses) and not connection.execute(query).scalar_one():
            values |= {"status": final_status(statuses, cancelled=outcome.whole).value, "ended": now()}

        if values:
            connection.execute(update(dispatches).where(here).values(**values))


def upstream(node_id: int, name: str, what: str) -> str:
    """Say why a node that never started is cancelled."""
    return f"upstream node {node_id} ({name}) {what}"


def _check_nodes(dispatch_id: str, task_ids: Sequence[int] | None, found: Mapping[int, Any]) -> None:
    unknown = sorted(set(task_ids or ()) - set(found))

    if unknown:
        names = ", ".join(map(str, unknown))
        raise NodeNotFoundError(
            f"dispatch {dispatch_id!r} has no node {names}; its nodes are 0 to {len(found) - 1}, "
            f"as print(result) shows; nothing was cancelled"
        )
