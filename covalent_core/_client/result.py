"""What a dispatch has come to, as a client sees it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Row

from covalent_core._model.cancellation import last_line
from covalent_core._model.job import Value
from covalent_core._model.status import Status
from covalent_core._model.usage import Usage
from covalent_core._store.store import Store
from covalent_core.errors import ForeignError, NodeNotFoundError, TaskCancelledError, TaskError, TaskRuntimeError


class Result:
    """A dispatch as it was when this object was made. ``print(result)`` shows all of it."""

    def __init__(self, store: Store, dispatch_id: str) -> None:
        self._store = store
        self._row, nodes = store.get_dispatch(dispatch_id)
        self._nodes = {row.node_id: row for row in nodes}
        rows = store.get_jobs(dispatch_id)
        self._jobs = {row.node_id: row for row in rows}
        self._usages: dict[int, list[Usage]] = {}

        for row in rows:
            if row.usage is not None:
                self._usages.setdefault(row.node_id, []).append(Usage.of_text(row.usage))

    @property
    def dispatch_id(self) -> str:
        """The id under which it was dispatched."""
        return str(self._row.dispatch_id)

    @property
    def name(self) -> str:
        """The name of the lattice."""
        return str(self._row.name)

    @property
    def status(self) -> Status:
        """Where the dispatch stands."""
        return Status(self._row.status)

    @property
    def not_before(self) -> datetime | None:
        """The moment before which nothing of it starts, if it was dispatched with one."""
        return _time(self._row.not_before)

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that has made it, if one has."""
        return None if self._row.schedule is None else str(self._row.schedule)

    @property
    def due(self) -> datetime | None:
        """The instant of that schedule which this is the dispatch of."""
        return _time(self._row.due)

    @property
    def tags(self) -> list[str]:
        """The tags that it was dispatched with, in alphabetical order."""
        return self._store.get_tags(self.dispatch_id)

    @property
    def start_time(self) -> datetime | None:
        """When a dispatcher took it up."""
        return _time(self._row.started)

    @property
    def end_time(self) -> datetime | None:
        """When it ended."""
        return _time(self._row.ended)

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments it was dispatched with, as they can be shown: ``{"args": [...], "kwargs": {...}}``."""
        return {"args": json.loads(self._row.args), "kwargs": json.loads(self._row.kwargs)}

    @property
    def result(self) -> Any:
        """The return value of the lattice with the outputs in place of the electrons; None unless COMPLETED."""
        if self.status != Status.COMPLETED:
            return None

        value = self._store.get_output(self._row)
        return None if value is None else _open(self._store, value)

    @property
    def error(self) -> str | None:
        """Why it failed or was cancelled, or None."""
        if self._row.error:
            return str(self._row.error)

        failed = [row for row in self._nodes.values() if row.status == Status.FAILED]
        cancelled = [row for row in self._nodes.values() if row.cancel_requested]
        return "\n".join(f"{_name(row)}: {last_line(row.error)}" for row in failed or cancelled) or None

    def get_node_result(self, node_id: int) -> dict[str, Any]:
        """Return all that is known of one node.

        Returns:
            node_id, node_name, status, output, error (text with the traceback), exception (`TaskError` or None),
            stdout, stderr, start_time, end_time, cancel_requested, attempt (0 for the first), attempts (the failed ones
            before: attempt, start_time, end_time, error, step, stdout, stderr), job_handle, progress, waiting (what its
            job waits for, or None), usage (a `Usage` for each of its jobs whose executor has said what it costs;
            nodes of one pack share that of their job), sublattice_result (`Result` or None), reused_from (the id of
            the dispatch in which it has run, where a redispatch has taken it from there, or None), and cancelling:
            since, attempts, error and next attempt of a cancel that could not be confirmed yet, or None.

        Raises:
            NodeNotFoundError: There is no such node.
        """
        row = self._row_of(node_id)
        job = self._jobs.get(node_id)
        return {
            "node_id": row.node_id,
            "node_name": row.name,
            "status": Status(row.status),
            "output": self._output(row),
            "error": row.error,
            "exception": self._exception(row),
            "stdout": row.stdout,
            "stderr": row.stderr,
            "start_time": _time(row.started),
            "end_time": _time(row.ended),
            "cancel_requested": row.cancel_requested,
            "attempt": row.attempt,
            "attempts": self._attempts(node_id),
            "sublattice_result": self._sublattice(node_id),
            "job_handle": job.handle if job else None,
            "progress": job.progress if job else None,
            "waiting": _waiting(row, job),
            "usage": self._usages.get(node_id, []),
            "reused_from": row.reused_from,
            "cancelling": _cancelling(row, job),
        }

    def nodes(self) -> list[tuple[str, int]]:
        """Return ``name(id)`` and id of every node."""
        return [(_name(row), row.node_id) for row in self._nodes.values()]

    def get_all_node_outputs(self) -> dict[str, Any]:
        """Return the output of every node by ``name(id)``; None where there is none."""
        return {_name(row): self._output(row) for row in self._nodes.values()}

    def get_cancellations(self) -> list[dict[str, Any]]:
        """Return every cancel of this dispatch, oldest first.

        Returns:
            client (who), time (when), reason (why), force, task_ids (None for the whole dispatch), targets: by node id
            what became of each, as in `CancelTarget.outcome`.
        """
        return [
            {
                "client": row.client,
                "time": _time(row.at),
                "reason": row.reason,
                "force": row.force,
                "task_ids": None if row.task_ids is None else json.loads(row.task_ids),
                "targets": targets,
            }
            for row, targets in self._store.get_cancel_orders(self.dispatch_id)
        ]

    def raise_for_error(self) -> None:
        """Raise what went wrong in the first node that failed, or the cancel, if the dispatch ended so.

        Raises:
            TaskRuntimeError: A node failed; its ``__cause__`` is the original exception.
            TaskCancelledError: The dispatch or a node was cancelled.
        """
        for status in (Status.FAILED, Status.CANCELLED):
            for row in self._nodes.values():
                if row.status == status and self.status == status:
                    problem = self._exception(row)
                    assert problem is not None
                    raise problem from problem.__cause__

    def __str__(self) -> str:
        inputs = self.inputs
        value = _shown(lambda: self.result)
        lines = ["", "Lattice Result", "==============", f"status: {self.status}", f"result: {value}"]
        lines += [f"input args: {inputs['args']}", f"input kwargs: {inputs['kwargs']}", f"error: {self.error}", ""]
        lines += [f"not_before: {self.not_before}"] if self.not_before else []
        lines += [f"schedule: {self.schedule}, due {self.due}"] if self.schedule else []
        lines += [f"start_time: {self.start_time}", f"end_time: {self.end_time}", ""]
        lines += [f"results_dir: {self._store.home.folder}", f"dispatch_id: {self.dispatch_id}", ""]
        lines += ["Node Outputs", "------------", *map(self._line, self._nodes.values()), ""]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Result of {self.name} {self.dispatch_id}: {self.status}>"

    def _line(self, row: Row[Any]) -> str:
        line = f"{_name(row)}: {_shown(lambda: self._output(row))}"
        cancelling = _cancelling(row, self._jobs.get(row.node_id))

        if row.reused_from:
            line += f" [reused from {row.reused_from}]"

        if waiting := _waiting(row, self._jobs.get(row.node_id)):
            line += f" [waiting: {waiting}]"

        if usages := self._usages.get(row.node_id):
            line += f" [cost: {'; '.join(map(str, usages))}]"

        if cancelling is None or not cancelling["error"]:
            return line

        return (
            f"{line} [CANCELLING since {cancelling['since']}, {cancelling['attempts']} attempts, "
            f"last error: {cancelling['error']}, next attempt at {cancelling['next']}]"
        )

    def _attempts(self, node_id: int) -> list[dict[str, Any]]:
        return [
            {
                "attempt": row.attempt,
                "start_time": _time(row.started),
                "end_time": _time(row.ended),
                "error": row.error,
                "step": row.step,
                "stdout": row.stdout,
                "stderr": row.stderr,
            }
            for row in self._store.get_attempts(self.dispatch_id, node_id)
        ]

    def _sublattice(self, node_id: int) -> Result | None:
        child = self._store.get_child(self.dispatch_id, node_id)
        return None if child is None else Result(self._store, child.dispatch_id)

    def _row_of(self, node_id: int) -> Row[Any]:
        if node_id not in self._nodes:
            raise NodeNotFoundError(
                f"dispatch {self.dispatch_id!r} has no node {node_id!r}; its nodes are 0 to {len(self._nodes) - 1}"
            )

        return self._nodes[node_id]

    def _output(self, row: Row[Any]) -> Any:
        return None if row.output is None else _open(self._store, row.output)

    def _exception(self, row: Row[Any]) -> TaskError | None:
        where = {"dispatch_id": self.dispatch_id, "node_id": row.node_id}

        if row.status == Status.CANCELLED:
            return TaskCancelledError(row.error or "", **where)

        if row.status != Status.FAILED:
            return None

        message = f"task {_name(row)} of dispatch {self.dispatch_id} failed in {row.step!r}: {row.error}"
        problem = TaskRuntimeError(message, **where, step=row.step or "run", stderr=row.stderr)

        if row.exception is not None:
            try:
                problem.__cause__ = _open(self._store, row.exception)
            except Exception as error:
                problem.__cause__ = _stand_in(row.error or "", error)

        return problem


def _open(store: Store, value: Value) -> Any:
    import pickle

    if isinstance(value, bytes):
        return pickle.loads(value)

    with open(store.home.folder / value, "rb") as file:
        return pickle.load(file)


def _stand_in(error: str, why: Exception) -> ForeignError:
    """Return what stands for an exception that this process cannot open."""
    kind, _, text = last_line(error).partition(": ")
    return ForeignError(kind, f"{text} (it cannot be opened here: {type(why).__name__}: {why})")


def _shown(read: Any) -> str:
    """Return what `read` gives as text, and say so where it cannot be opened in this process."""
    try:
        return str(read())
    except Exception as error:
        return f"<cannot be opened here: {type(error).__name__}: {error}>"


def _name(row: Row[Any]) -> str:
    return f"{row.name}({row.node_id})"


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _waiting(row: Row[Any], job: Row[Any] | None) -> str | None:
    # What a node that has ended still waits for is the release of its job.
    return None if job is None or (Status(row.status).terminal and job.released) else job.waiting


def _cancelling(row: Row[Any], job: Row[Any] | None) -> dict[str, Any] | None:
    if row.status != Status.CANCELLING or job is None:
        return None

    return {
        "since": _time(job.cancel_since),
        "attempts": job.cancel_attempts,
        "error": job.cancel_error,
        "next": _time(job.cancel_next),
    }
