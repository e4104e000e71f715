"""Cancel orders: what one does in the store, whole, before it is acknowledged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, update
from sqlalchemy.engine.interfaces import DBAPICursor

from covalent_core._model.cancellation import OUTCOMES, CancelOutcome, CancelRequest, CancelTarget, downstream, upstream
from covalent_core._model.status import Status, final_status
from covalent_core._model.where import Where
from covalent_core._store.database import now
from covalent_core._store.prepared import Prepared, Query, is_one_of
from covalent_core._store.schema import cancel_orders, cancel_targets, dispatches, edges, jobs, nodes
from covalent_core._store.selection import conditions
from covalent_core._store.store import OPEN, Store
from covalent_core._store.transitions import GIVEN_UP
from covalent_core.errors import NodeNotFoundError, SublatticeNodeError


def request_cancel(
    store: Store, dispatch_id: str, task_ids: Sequence[int] | None, request: CancelRequest
) -> CancelOutcome:
    """Order that nodes, or the whole dispatch, be cancelled. The order is on disk when this returns.

    What has not started never will: it is CANCELLED here and now, with everything downstream of it, and so is all that
    has not started in the sublattices among them. What runs is CANCELLING from here on, whatever it still returns;
    ending it is the dispatcher's work.

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

        return _Order(connection.connection.cursor(), request).give(dispatch_id, task_ids)


def request_cancel_of_all(store: Store, where: Where, request: CancelRequest, *, dry_run: bool) -> list[CancelOutcome]:
    """Order that all dispatches be cancelled that have something in common and have not ended, the oldest first.

    Args:
        dry_run: Only find out what that would do.
    """
    query = select(dispatches.c.dispatch_id).where(*conditions(where), dispatches.c.status.in_(OPEN))

    with store.database.write() as connection:
        found = list(connection.execute(query.order_by(dispatches.c.created)).scalars())
        order = _Order(connection.connection.cursor(), request)
        outcomes = [order.give(dispatch_id, None) for dispatch_id in found]

        if dry_run:
            connection.rollback()

        return outcomes


def cancel_within(connection: Connection, dispatch_id: str, reason: str, client: str) -> CancelOutcome:
    """Order as `request_cancel` does that a whole dispatch be cancelled, as a part of a transaction of others."""
    return _Order(connection.connection.cursor(), CancelRequest(reason, client)).give(dispatch_id, None)


_ID: BindParameter[str] = bindparam("dispatch_id")

_NODES = Query(select(nodes.c.node_id, nodes.c.name, nodes.c.status, nodes.c.step).where(nodes.c.dispatch_id == _ID))
_EDGES = Query(select(edges.c.source, edges.c.target).where(edges.c.dispatch_id == _ID))
_OPEN_JOBS = Query(
    select(func.count().label("count")).select_from(jobs).where(jobs.c.dispatch_id == _ID, jobs.c.released.is_(None))
)
_OPEN_CHILDREN = Query(
    select(dispatches.c.dispatch_id, dispatches.c.parent_node_id).where(
        dispatches.c.parent_dispatch_id == _ID, is_one_of(dispatches.c.status, OPEN)
    )
)
_ADD_ORDER = Prepared.insert(cancel_orders, "dispatch_id", "task_ids", "force", "grace", "reason", "client", "at")
_ORDER_ID = Query(select(func.last_insert_rowid().label("id")))
_ADD_TARGET = Prepared.insert(cancel_targets, "order_id", "node_id", "outcome")
_STOP_NODE = Prepared(
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
#: What is None stays as it is.
_CLOSE_DISPATCH = Prepared(
    update(dispatches)
    .where(dispatches.c.dispatch_id == bindparam("b_dispatch"))
    .values(
        {
            name: func.coalesce(bindparam(f"b_{name}"), dispatches.c[name])
            for name in ("status", "cancel_requested", "error", "ended")
        }
    )
)


class _Order:
    """One order within its transaction, with those that follow from it for sublattices."""

    def __init__(self, cursor: DBAPICursor, request: CancelRequest) -> None:
        self._cursor = cursor
        self._request = request

    def give(self, dispatch_id: str, task_ids: Sequence[int] | None) -> CancelOutcome:
        found = {row.node_id: row for row in _NODES.rows(self._cursor, dispatch_id=dispatch_id)}
        _check_nodes(dispatch_id, task_ids, found)
        named = sorted(found) if task_ids is None else sorted(set(task_ids))
        every = [CancelTarget(n, found[n].name, OUTCOMES[Status(found[n].status)]) for n in named]
        chosen = tuple(t for t in every if task_ids is not None or not t.outcome.startswith("too late"))
        outcome = CancelOutcome(dispatch_id, task_ids is None, self._request.reason, chosen)
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
            "at": now(),
            **asdict(self._request),
        }
        _ADD_ORDER.execute(self._cursor, [order])
        (row,) = _ORDER_ID.rows(self._cursor)
        targets = [{"order_id": row.id, "node_id": t.node_id, "outcome": t.outcome} for t in outcome.targets]
        _ADD_TARGET.execute(self._cursor, targets)

    def _stop_nodes(self, outcome: CancelOutcome, found: Mapping[int, Any]) -> None:
        dispatch_id = outcome.dispatch_id
        stopped = {target.node_id for target in outcome.targets if target.stopped}
        targets: dict[int, list[int]] = {}

        for row in _EDGES.rows(self._cursor, dispatch_id=dispatch_id):
            targets.setdefault(row.source, []).append(row.target)

        below = downstream(lambda node_id: targets.get(node_id, ()), stopped)
        reasons = dict.fromkeys(stopped, self._request.reason)
        reasons |= {n: upstream(s, found[s].name, "cancelled") for n, s in below.items()}
        rows = [
            {"b_dispatch": dispatch_id, "b_node": node_id, "b_error": reason, "b_requested": node_id in stopped}
            | _stopped(Status(found[node_id].status))
            for node_id, reason in reasons.items()
        ]
        _STOP_NODE.execute(self._cursor, rows)

    def _stop_sublattices(self, dispatch_id: str, node_ids: Sequence[int]) -> None:
        """Cancel the dispatches of the sublattices among these nodes; where nothing of one runs, its node has ended."""
        if not node_ids:
            return

        for child in _OPEN_CHILDREN.rows(self._cursor, dispatch_id=dispatch_id):
            if child.parent_node_id in node_ids:
                self.give(child.dispatch_id, None)

    def _close_dispatch(self, outcome: CancelOutcome) -> None:
        """Write what the order means for the dispatch as a whole: if nothing is left to be done, its end."""
        row: dict[str, Any] = dict.fromkeys(("b_status", "b_cancel_requested", "b_error", "b_ended"))
        found = _NODES.rows(self._cursor, dispatch_id=outcome.dispatch_id)
        statuses = [Status(node.status) for node in found]
        cancelled = outcome.whole and all(node.step != GIVEN_UP for node in found)
        (jobs,) = _OPEN_JOBS.rows(self._cursor, dispatch_id=outcome.dispatch_id)

        if outcome.whole:
            row |= {"b_cancel_requested": True, "b_error": outcome.reason, "b_status": Status.CANCELLING.value}

        if all(status.terminal for status in statuses) and not jobs.count:
            row |= {"b_status": final_status(statuses, cancelled=cancelled).value, "b_ended": now()}

        _CLOSE_DISPATCH.execute(self._cursor, [{**row, "b_dispatch": outcome.dispatch_id}])


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
