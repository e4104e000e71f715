"""The job definitions of an account: registered once for all jobs that run in the same way, and removed on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from covalent_core_awsbatch._definition import FAMILY, Definition
from covalent_core_awsbatch._service import Service

#: A definition that a job of so many seconds ago has used is not removed: its dispatcher may still be about to submit.
RECENT = 24 * 3600

OVER = ("SUCCEEDED", "FAILED")


class Definitions:
    """The job definitions of an account."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def arn(self, definition: Definition) -> str:
        """Return the ARN of a revision that says this, registered if there is none."""
        request = definition.request
        name = request["jobDefinitionName"]

        async with self._lock:
            if name not in self._known:
                self._known[name] = await self._active(name) or await self._register(request)

        return self._known[name]

    def forget(self, arn: str) -> None:
        """Look again for a definition: this revision is not there any more."""
        self._known = {name: known for name, known in self._known.items() if known != arn}

    async def _active(self, name: str) -> str | None:
        batch = self._service.batch
        asked = f"DescribeJobDefinitions of {name}"
        answer = await self._service.call(
            batch.describe_job_definitions, asked, jobDefinitionName=name, status="ACTIVE"
        )
        # Somebody else may have registered something under this name: only the first one is ours for sure.
        found = sorted(answer["jobDefinitions"], key=lambda known: known["revision"])
        return next((str(known["jobDefinitionArn"]) for known in found), None)

    async def _register(self, request: dict[str, Any]) -> str:
        asked = f"RegisterJobDefinition {request['jobDefinitionName']}"
        # Made twice, it is there twice, and nothing else.
        answer = await self._service.call(self._service.batch.register_job_definition, asked, **request)
        return str(answer["jobDefinitionArn"])


def purge(batch: Any) -> list[str]:
    """Deregister the job definitions of this package that no job uses which has not ended, or was made today.

    Args:
        batch: A client of boto3.

    Returns:
        The ARNs of what was deregistered.
    """
    pages = batch.get_paginator("describe_job_definitions").paginate(status="ACTIVE")
    ours = [known for page in pages for known in page["jobDefinitions"] if _is_ours(known)]
    queues = [
        queue["jobQueueArn"]
        for page in batch.get_paginator("describe_job_queues").paginate()
        for queue in page["jobQueues"]
    ]
    names = {known["jobDefinitionName"] for known in ours}
    unused = {name for name in names if not any(_is_used(batch, queue, name) for queue in queues)}
    gone = [known["jobDefinitionArn"] for known in ours if known["jobDefinitionName"] in unused]

    for arn in gone:
        batch.deregister_job_definition(jobDefinition=arn)

    return gone


def _is_ours(known: dict[str, Any]) -> bool:
    return str(known["jobDefinitionName"]).startswith(FAMILY)


def _is_used(batch: Any, queue: str, name: str) -> bool:
    latest = (time.time() - RECENT) * 1000
    return any(job["status"] not in OVER or job["createdAt"] > latest for job in _jobs(batch, queue, name))


def _jobs(batch: Any, queue: str, name: str) -> Iterator[dict[str, Any]]:
    filters = [{"name": "JOB_DEFINITION", "values": [name]}]

    # Newest first: the first page mostly says it.
    for page in batch.get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters):
        yield from page["jobSummaryList"]
