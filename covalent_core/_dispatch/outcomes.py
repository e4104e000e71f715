"""Take over what the runner left of the nodes of a job. Nothing of it is unpickled here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import to_thread

from covalent_core._dispatch.missing import explain_missing
from covalent_core._model.job import Job, Results, Value
from covalent_core._model.status import Status
from covalent_core._store.transitions import NodeEnd
from covalent_core._store.values import Values


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
        with suppress(OSError, KeyError, ValueError):
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
    record = _content(results, name)
    header, _, content = (record if isinstance(record, bytes) else record.read_bytes()).partition(b"\n")
    return json.loads(header), content


def _take(job: Job, node_id: int, results: Results, values: Values, last_words: str) -> NodeEnd | None:
    name = f"{job.ticket}.{node_id}"

    try:
        header, content = _read_outcome(results, f"{name}.outcome")
    except (FileNotFoundError, KeyError):
        return NodeEnd(node_id, Status.FAILED, explain_missing(job, node_id, results, last_words), "run")

    if header["status"] == "SKIPPED":
        return None

    value: Value | None = content or None

    if header["file"]:
        value = values.take(job.dispatch_id, f"output-{node_id}-{job.attempt}", _content(results, f"{name}.value"))

    completed = header["status"] == Status.COMPLETED
    graph = completed and any(task.graph for task in job.tasks if task.node_id == node_id)
    return NodeEnd(
        node_id,
        # TERMINATED without a cancel of ours: somebody else ended the process.
        Status(header["status"]) if header["status"] in tuple(Status) else Status.FAILED,
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
