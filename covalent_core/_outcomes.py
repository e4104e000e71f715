"""Take over what the runner left of the nodes of a job. Nothing of it is unpickled here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import to_thread

from covalent_core._job import Job, Results, Value
from covalent_core._status import Status
from covalent_core._transitions import NodeEnd
from covalent_core._values import Values


async def take_over(job: Job, results: Results, values: Values) -> list[NodeEnd]:
    """Return how each node of a job ended, according to its result files; large values are moved out of a folder."""

    def take_all() -> list[NodeEnd]:
        return [_take(job, node_id, results, values) for node_id in job.node_ids]

    # Large values are flushed to disk, which takes long enough to be worth a thread.
    if any(_has(results, f"{job.ticket}.{node_id}.value") for node_id in job.node_ids):
        return await to_thread.run_sync(take_all)

    return take_all()


def add_output(job: Job, results: Results, ends: list[NodeEnd]) -> None:
    """Add what tasks that were ended had written until then, where the runner could still leave it."""
    for end in ends:
        with suppress(OSError, KeyError, ValueError):
            header, _ = _read_outcome(results, f"{job.ticket}.{end.node_id}.outcome")
            end.stdout, end.stderr = header["stdout"], header["stderr"]


def _has(results: Results, name: str) -> bool:
    return name in results if isinstance(results, Mapping) else os.path.exists(os.path.join(results, name))


def _content(results: Results, name: str) -> Value:
    return results[name] if isinstance(results, Mapping) else Path(results, name)


def _read_outcome(results: Results, name: str) -> tuple[dict[str, Any], bytes]:
    record = _content(results, name)
    header, _, content = (record if isinstance(record, bytes) else record.read_bytes()).partition(b"\n")
    return json.loads(header), content


def _take(job: Job, node_id: int, results: Results, values: Values) -> NodeEnd:
    name = f"{job.ticket}.{node_id}"

    try:
        header, content = _read_outcome(results, f"{name}.outcome")
    except (FileNotFoundError, KeyError):
        return NodeEnd(node_id, Status.FAILED, "the job ended without an outcome for this node", "run")

    value: Value | None = content or None

    if header["file"]:
        value = values.take(job.dispatch_id, f"output-{node_id}-{job.attempt}", _content(results, f"{name}.value"))

    completed = header["status"] == Status.COMPLETED
    return NodeEnd(
        node_id,
        # TERMINATED without a cancel of ours: somebody else ended the process.
        Status(header["status"]) if header["status"] in tuple(Status) else Status.FAILED,
        header["error"],
        None if completed else "run",
        header["started"],
        header["ended"],
        value if completed else None,
        None if completed else value,
        header["stdout"],
        header["stderr"],
    )
