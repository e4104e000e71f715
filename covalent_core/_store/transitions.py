"""The transitions of nodes and jobs, as statements for many rows at once.

Each says in its condition from where it may start, so that the database itself keeps a terminal status, and a cancel
that came first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import bindparam, func, insert, literal_column, update

from covalent_core._model.job import Value
from covalent_core._model.status import Status
from covalent_core._store.database import now
from covalent_core._store.prepared import Prepared, is_one_of
from covalent_core._store.schema import attempts, dispatches, encode, job_nodes, jobs, nodes

#: The step in which a node has failed that somebody has given up before it was confirmed to have ended.
GIVEN_UP = "cancel"

#: A statement and the values of one row for it.
Write: TypeAlias = "tuple[Prepared, dict[str, Any]]"


_in_dispatch = nodes.c.dispatch_id == bindparam("b_dispatch")
_here = (_in_dispatch, nodes.c.node_id == bindparam("b_node"))
_ticket = jobs.c.ticket == bindparam("b_ticket")


def _node_update(statuses: list[Status], *columns: str, **more: Any) -> Prepared:
    values: dict[str, Any] = {column: bindparam(f"b_{column}") for column in columns} | more
    return Prepared(update(nodes).where(*_here, is_one_of(nodes.c.status, statuses)).values(values))


def _nodes_update(statuses: list[Status], status: Status) -> Prepared:
    """Return what gives all nodes of a dispatch that have one of these statuses another, with an error."""
    values: dict[str, Any] = {column: bindparam(f"b_{column}") for column in ("error", "ended")}
    here = update(nodes).where(_in_dispatch, is_one_of(nodes.c.status, statuses))
    return Prepared(here.values(status=literal_column(f"'{status.value}'"), **values))


def _job_update(*columns: str) -> Prepared:
    return Prepared(update(jobs).where(_ticket).values({column: bindparam(f"b_{column}") for column in columns}))


ADD_JOB = Prepared.insert(jobs, "ticket", "dispatch_id", "attempt", "cancel_attempts")
ADD_JOB_NODE = Prepared.insert(job_nodes, "ticket", "place", "node_id")
START_NODE = _node_update([Status.NEW_OBJECT], "status", "started")
RUN_NODE = _node_update([Status.DISPATCHING], "status")
#: While it runs.
SET_OUTPUT = _node_update([Status.RUNNING], "stdout", "stderr")
#: Where its end does not say what a task has written, what was seen of it while it ran stays.
_WRITTEN: dict[str, Any] = {name: func.coalesce(bindparam(f"b_{name}"), nodes.c[name]) for name in ("stdout", "stderr")}
END_NODE = _node_update(
    [Status.NEW_OBJECT, Status.DISPATCHING, Status.RUNNING],
    *("status", "started", "ended", "error", "step", "output", "exception"),
    **_WRITTEN,
)
ATTEMPT_COLUMNS = ("started", "ended", "error", "step", "stdout", "stderr", "exception")
ADD_ATTEMPT = Prepared(
    insert(attempts).values(
        {name: bindparam(f"b_{name}") for name in ("attempt", *ATTEMPT_COLUMNS)}
        | {"dispatch_id": bindparam("b_dispatch"), "node_id": bindparam("b_node")}
    )
)
#: Back to where it can start again: after a failed attempt, or because its job has been given up for others.
REQUEUE_NODE = _node_update(
    [Status.NEW_OBJECT, Status.DISPATCHING, Status.RUNNING],
    *("status", "attempt", "jobs", "not_before"),
    stdout=literal_column("''"),
    stderr=literal_column("''"),
)
#: What was cancelled keeps the reason as its error, unless it has failed to be ended.
END_STOPPED_NODE = _node_update(
    [Status.CANCELLING],
    *("status", "ended", "step"),
    error=func.coalesce(bindparam("b_given_up"), nodes.c.error),
    **_WRITTEN,
)
SET_PAYLOAD = _job_update("payload")
SET_LOCATION = _job_update("location")
SET_HANDLE = _job_update("handle")
SET_PROGRESS = _job_update("progress")
SET_WAITING = _job_update("waiting")
SET_USAGE = _job_update("usage")
SET_CANCEL = _job_update("cancel_since", "cancel_attempts", "cancel_error", "cancel_next")
CLOSE_JOB = _job_update("released", "error", "payload")
START_DISPATCH = Prepared(
    update(dispatches)
    .where(dispatches.c.dispatch_id == bindparam("b_dispatch"), dispatches.c.status == literal_column("'NEW_OBJECT'"))
    .values(status=bindparam("b_status"), started=bindparam("b_started"))
)
END_DISPATCH = Prepared(
    update(dispatches)
    .where(dispatches.c.dispatch_id == bindparam("b_dispatch"), dispatches.c.ended.is_(None))
    .values(status=bindparam("b_status"), ended=bindparam("b_ended"))
)
#: The end of a dispatch that cannot be walked to its end: of what has begun, of what never will, and its own.
FAIL_NODES = _nodes_update([Status.DISPATCHING, Status.RUNNING, Status.CANCELLING], Status.FAILED)
PREVENT_NODES = _nodes_update([Status.NEW_OBJECT], Status.CANCELLED)
FAIL_DISPATCH = Prepared(
    update(dispatches)
    .where(dispatches.c.dispatch_id == bindparam("b_dispatch"), dispatches.c.ended.is_(None))
    .values(status=literal_column("'FAILED'"), error=bindparam("b_error"), ended=bindparam("b_ended"))
)


@dataclass(frozen=True)
class Requeue:
    """A node that is to start again.

    Attributes:
        attempt: The number of its next attempt, from 0 on.
        jobs: How many jobs it has been part of.
        not_before: When it may start.
        failed: How the attempt before ended, if one has.
    """

    node_id: int
    attempt: int
    jobs: int
    not_before: float | None = None
    failed: NodeEnd | None = None

    def as_row(self, dispatch_id: str) -> dict[str, Any]:
        values = {"b_attempt": self.attempt, "b_jobs": self.jobs, "b_not_before": self.not_before}
        return {**node_key(dispatch_id, self.node_id), "b_status": Status.NEW_OBJECT.value, **values}


@dataclass
class NodeEnd:
    """How a node ended.

    Attributes:
        stdout: What it has written, None if that is not known; so is `stderr`.
        graph: What a sublattice has come to where it did not fail: a graph as JSON.
        retry: Whether another attempt could end otherwise.
    """

    node_id: int
    status: Status
    error: str | None = None
    step: str | None = None
    started: float | None = None
    ended: float = field(default_factory=now)
    output: Value | None = None
    exception: Value | None = None
    stdout: str | None = None
    stderr: str | None = None
    graph: Value | None = None
    retry: bool = True

    def as_row(self, dispatch_id: str) -> dict[str, Any]:
        columns = ("started", "ended", "error", "step", "stdout", "stderr", "output", "exception")
        values: dict[str, Any] = {f"b_{column}": getattr(self, column) for column in columns}
        values |= {f"b_{column}": encode(getattr(self, column)) for column in ("output", "exception")}
        return {**node_key(dispatch_id, self.node_id), "b_status": self.status.value, **values}


def node_key(dispatch_id: str, node_id: int) -> dict[str, Any]:
    return {"b_dispatch": dispatch_id, "b_node": node_id}
