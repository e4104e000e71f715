"""Cancel orders: what one does in the store, whole, before it is acknowledged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, or_, select, update

from covalent_core._model.cancellation import OUTCOMES, CancelOutcome, CancelTarget, downstream, upstream
from covalent_core._model.status import Status, final_status
from covalent_core._store.database import now
from covalent_core._store.schema import cancel_orders, cancel_targets, dispatches, edges, jobs, nodes
from covalent_core._store.store import OPEN, Store
from covalent_core._store.transitions import GIVEN_UP
from covalent_core.errors import NodeNotFoundError, SublatticeNodeError


def request_cancel(
    store: Store,
    dispatch_id: str,
    task_ids: Sequence[int] | None,
    reason: str,
    client: str,
    *,
    force: bool = False,
) -> CancelOutcome:
    """Order that nodes, or the whole dispatch, be cancelled. The order is on disk when this returns.

    What has not started never will: it is CANCELLED here and now, with everything downstream of it, and so is all that
    has not started in the sublattices among them. What runs is CANCELLING from here on, whatever it still returns;
    ending it is the dispatcher's work.

    Args:
        force: Give up what the dispatcher cannot confirm to have ended in one more attempt.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        NodeNotFoundError: It has no such node; then nothing is cancelled.
        SublatticeNodeError: The dispatch is that of a sublattice, which can only be cancelled as a whole.
    """
    with store.database.write() as connection:
        dispatch = store.find_dispatch(connection, dispatch_id)

        if task_ids is not None and dispatch.parent_dispatch_id is not None:
            raise SublatticeNodeError(
                f"dispatch {dispatch_id!r} is the sublattice at node {dispatch.parent_node_id} of dispatch "
                f"{dispatch.parent_dispatch_id!r}, and single nodes of a sublattice cannot be cancelled; cancel all of "
                f"it with ct.cancel({dispatch_id!r}); nothing was cancelled"
            )

        return _Order(connection, reason, client, force).give(dispatch_id, task_ids)


def is_one_of(column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Return a condition like IN, in a form that a statement for many rows at once can have."""
    return or_(*(column == value for value in values))


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


class _Order:
    """One order within its transaction, with those that follow from it for sublattices."""

    def __init__(self, connection: Connection, reason: str, client: str, force: bool) -> None:
        self._connection = connection
        self._reason = reason
        self._client = client
        self._force = force

    def give(self, dispatch_id: str, task_ids: Sequence[int] | None) -> CancelOutcome:
        query = select(nodes.c.node_id, nodes.c.name, nodes.c.status).where(nodes.c.dispatch_id == dispatch_id)
        found: dict[int, Any] = {row.node_id: row for row in self._connection.execute(query)}
        _check_nodes(dispatch_id, task_ids, found)
        named = sorted(found) if task_ids is None else sorted(set(task_ids))
        every = [CancelTarget(n, found[n].name, OUTCOMES[Status(found[n].status)]) for n in named]
        chosen = tuple(t for t in every if task_ids is not None or not t.outcome.startswith("too late"))
        outcome = CancelOutcome(dispatch_id, task_ids is None, self._reason, chosen)
        self._record(outcome, task_ids)

        if outcome:
            self._stop_nodes(outcome, found)

        # A node whose sublattice is still being ended may be asked for again.
        self._stop_sublattices(dispatch_id, [target.node_id for target in outcome.targets if target.open])

        if outcome:
            self._close_dispatch(outcome)

        return outcome

    def _record(self, outcome: CancelOutcome, task_ids: Sequence[int] | None) -> None:
        order = {
            "dispatch_id": outcome.dispatch_id,
            "task_ids": None if task_ids is None else json.dumps(sorted(task_ids)),
            "force": self._force,
            "reason": outcome.reason,
            "client": self._client,
            "at": now(),
        }
        returning = insert(cancel_orders).returning(cancel_orders.c.id)
        order_id = self._connection.execute(returning, order).scalar_one()
        rows = [{"order_id": order_id, "node_id": t.node_id, "outcome": t.outcome} for t in outcome.targets]

        if rows:
            self._connection.execute(insert(cancel_targets), rows)

    def _stop_nodes(self, outcome: CancelOutcome, found: Mapping[int, Any]) -> None:
        dispatch_id = outcome.dispatch_id
        stopped = {target.node_id for target in outcome.targets if target.stopped}
        query = select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == dispatch_id)
        targets: dict[int, list[int]] = {}

        for row in self._connection.execute(query):
            targets.setdefault(row.source, []).append(row.target)

        below = downstream(lambda node_id: targets.get(node_id, ()), stopped)
        reasons = dict.fromkeys(stopped, self._reason)
        reasons |= {n: upstream(source, found[source].name, "cancelled") for n, source in below.items()}
        rows = [
            {"b_dispatch": dispatch_id, "b_node": node_id, "b_error": reason, "b_requested": node_id in stopped}
            | _stopped(Status(found[node_id].status))
            for node_id, reason in reasons.items()
        ]
        self._connection.execute(_STOP_NODE, rows)

    def _stop_sublattices(self, dispatch_id: str, node_ids: Sequence[int]) -> None:
        """Cancel the dispatches of the sublattices among these nodes; where nothing of one runs, its node has ended."""
        if not node_ids:
            return

        children = select(dispatches).where(
            dispatches.c.parent_dispatch_id == dispatch_id, dispatches.c.status.in_(OPEN)
        )

        for child in list(self._connection.execute(children)):
            if child.parent_node_id in node_ids:
                self.give(child.dispatch_id, None)

    def _close_dispatch(self, outcome: CancelOutcome) -> None:
        """Write what the order means for the dispatch as a whole: if nothing is left to be done, its end."""
        here = dispatches.c.dispatch_id == outcome.dispatch_id
        values: dict[str, Any] = {}

        if outcome.whole:
            values = {"cancel_requested": True, "error": outcome.reason, "status": Status.CANCELLING.value}

        query = select(nodes.c.status, nodes.c.step).where(nodes.c.dispatch_id == outcome.dispatch_id)
        found = list(self._connection.execute(query))
        statuses = [Status(row.status) for row in found]
        cancelled = outcome.whole and all(row.step != GIVEN_UP for row in found)
        open_jobs = select(func.count()).where(jobs.c.dispatch_id == outcome.dispatch_id, jobs.c.released.is_(None))

        if all(status.terminal for status in statuses) and not self._connection.execute(open_jobs).scalar_one():
            values |= {"status": final_status(statuses, cancelled=cancelled).value, "ended": now()}

        if values:
            self._connection.execute(update(dispatches).where(here).values(**values))


def _stopped(status: Status) -> dict[str, Any]:
    """Return what becomes of a node: what has not started has ended; what may run is still to be ended."""
    if status == Status.NEW_OBJECT:
        return {"b_status": Status.CANCELLED.value, "b_ended": now()}

    return {"b_status": Status.CANCELLING.value, "b_ended": None}


def _check_nodes(dispatch_id: str, task_ids: Sequence[int] | None, found: Mapping[int, Any]) -> None:
    unknown = sorted(set(task_ids or ()) - set(found))

    if unknown:
        names = ", ".join(map(str, unknown))
        raise NodeNotFoundError(
            f"dispatch {dispatch_id!r} has no node {names}; its nodes are 0 to {len(found) - 1}, "
            f"as print(result) shows; nothing was cancelled"
        )
