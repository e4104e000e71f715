"""Take over what the runner left of the nodes of a job. Nothing of it is unpickled here."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from covalent_core._job import Job, Value
from covalent_core._status import Status
from covalent_core._transitions import NodeEnd
from covalent_core._values import Values


async def take_over(job: Job, folder: str, values: Values) -> list[NodeEnd]:
    """Return how each node of a job ended, according to the files in `folder`; large values are moved from there."""
    prefixes = {node_id: f"{folder}/{job.ticket}.{node_id}" for node_id in job.node_ids}

    def take_all() -> list[NodeEnd]:
        return [_take(job, node_id, prefix, values) for node_id, prefix in prefixes.items()]

    # Large values are flushed to disk, which takes long enough to be worth a thread.
    if any(os.path.exists(f"{prefix}.value") for prefix in prefixes.values()):
        return await to_thread.run_sync(take_all)

    return take_all()


def add_output(job: Job, folder: str, ends: list[NodeEnd]) -> None:
    """Add what tasks that were ended had written until then, where the runner could still leave it in `folder`."""
    for end in ends:
        with suppress(OSError, ValueError), open(f"{folder}/{job.ticket}.{end.node_id}.outcome", "rb") as file:
            header = json.loads(file.readline())
            end.stdout, end.stderr = header["stdout"], header["stderr"]


def _take(job: Job, node_id: int, prefix: str, values: Values) -> NodeEnd:
    try:
        with open(f"{prefix}.outcome", "rb") as file:
            header, content = json.loads(file.readline()), file.read()
    except FileNotFoundError:
        return NodeEnd(node_id, Status.FAILED, "the job ended without an outcome for this node", "run")

    value: Value | None = content or None

    if header["file"]:
        value = values.adopt(job.dispatch_id, f"output-{node_id}-{job.attempt}", Path(f"{prefix}.value"))

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
