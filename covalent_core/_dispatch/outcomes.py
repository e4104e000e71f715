"""Take over what the runner left of the nodes of a job. Nothing of it is unpickled here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import to_thread

from covalent_core._dispatch.missing import explain_missing
from covalent_core._model.graph import short
from covalent_core._model.job import Job, Results, Value
from covalent_core._model.status import Status
from covalent_core._store.transitions import NodeEnd
from covalent_core._store.values import Values

#: What the runner says of a node, and what that means. None: it has not begun.
_STATUSES = {
    "COMPLETED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    # The function has said so itself.
    "CANCELLED": Status.CANCELLED,
    # Without a cancel of ours: somebody else ended the process.
    "TERMINATED": Status.FAILED,
    "SKIPPED": None,
}

#: The end of the year 9999, beyond which no date can be shown.
_LATEST = 253_402_300_799

#: What is in the header of an outcome: whether a value fits, and what does.
_FITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "status": (lambda value: isinstance(value, str) and value in _STATUSES, f"one of {', '.join(_STATUSES)}"),
    "error": (lambda value: value is None or isinstance(value, str), "text or null"),
    "started": (lambda value: value is None or _is_time(value), "seconds since 1970 or null"),
    "ended": (lambda value: _is_time(value), "seconds since 1970"),
    "stdout": (lambda value: isinstance(value, str), "text"),
    "stderr": (lambda value: isinstance(value, str), "text"),
    "file": (lambda value: isinstance(value, bool), "true or false"),
}


class _NoOutcome(Exception):  # noqa: N818  (becomes the error of a node)
    """What has come back is not what a runner writes."""


async def take_over(
    job: Job, node_ids: Iterable[int], results: Results, values: Values, last_words: str = ""
) -> list[NodeEnd]:
    """Return how nodes of a job ended, according to its result files; large values are moved out of a folder.

    A node of a pack that did not begin, because one that it needs did not complete, has no end of its own.

    Args:
        last_words: What the backend says of the end of the job, for nodes without an outcome.
    """
    chosen = list(node_ids)

    def take_all() -> list[NodeEnd]:
        ends = [_take(job, node_id, results, values, last_words) for node_id in chosen]
        return [end for end in ends if end is not None]

    # Large values are flushed to disk, which takes long enough to be worth a thread.
    if any(_has(results, f"{job.ticket}.{node_id}.value") for node_id in chosen):
        return await to_thread.run_sync(take_all)

    return take_all()


def add_output(job: Job, results: Results, ends: list[NodeEnd]) -> None:
    """Add what tasks that were ended had written until then, where the runner could still leave it."""
    for end in ends:
        with suppress(OSError, KeyError, _NoOutcome):
            header, _ = _read_outcome(results, f"{job.ticket}.{end.node_id}.outcome")
            end.stdout, end.stderr = header["stdout"], header["stderr"]


def in_results(job: Job, node_ids: Iterable[int], results: Results) -> list[int]:
    """Return those of the nodes that have an outcome in these results."""
    return [node_id for node_id in node_ids if _has(results, f"{job.ticket}.{node_id}.outcome")]


def _has(results: Results, name: str) -> bool:
    return name in results if isinstance(results, Mapping) else os.path.exists(os.path.join(results, name))


def _content(results: Results, name: str) -> Value:
    return results[name] if isinstance(results, Mapping) else Path(results, name)


def _read_outcome(results: Results, name: str) -> tuple[dict[str, Any], bytes]:
    """Return the header of an outcome, and what follows it.

    Raises:
        _NoOutcome: It is not one that the runner writes.
    """
    record = _content(results, name)
    header, _, content = (record if isinstance(record, bytes) else record.read_bytes()).partition(b"\n")

    try:
        return _checked(json.loads(header)), content
    except (ValueError, RecursionError) as error:
        raise _NoOutcome(f"what has come back is not an outcome: {error}") from error


def _checked(header: Any) -> dict[str, Any]:
    """Return a header in which everything is what the store can take: whoever sent it need not have our runner."""
    if not isinstance(header, dict):
        raise ValueError(f"its header is {short(header)}, expected an object")

    for name, (fits, expected) in _FITS.items():
        if not fits(header.get(name)):
            raise ValueError(f"{name} is {short(repr(header.get(name)))}, expected {expected}")

    return {name: header.get(name) for name in _FITS}


def _is_time(value: Any) -> bool:
    # What is not a number is not between two either.
    return type(value) in (int, float) and 0 <= value <= _LATEST


def _take(job: Job, node_id: int, results: Results, values: Values, last_words: str) -> NodeEnd | None:
    name = f"{job.ticket}.{node_id}"

    try:
        header, content = _read_outcome(results, f"{name}.outcome")
    except (FileNotFoundError, KeyError):
        return NodeEnd(node_id, Status.FAILED, explain_missing(job, node_id, results, last_words), "run")
    except _NoOutcome as error:
        return NodeEnd(node_id, Status.FAILED, str(error), "fetch")

    status = _STATUSES[header["status"]]

    if status is None:
        return None

    value: Value | None = content or None

    if header["file"]:
        if not _has(results, f"{name}.value"):
            return NodeEnd(node_id, Status.FAILED, f"the outcome names a value, and {name}.value is not there", "fetch")

        value = values.take(job.dispatch_id, f"output-{node_id}-{job.attempt}", _content(results, f"{name}.value"))

    completed = status == Status.COMPLETED

    if completed and value is None:
        return NodeEnd(node_id, Status.FAILED, "the outcome says COMPLETED and holds no value", "fetch")

    graph = completed and any(task.graph for task in job.tasks if task.node_id == node_id)
    return NodeEnd(
        node_id,
        status,
        header["error"],
        None if completed else "run",
        header["started"],
        header["ended"],
        value if completed and not graph else None,
        None if completed else value,
        header["stdout"],
        header["stderr"],
        value if graph else None,
    )
