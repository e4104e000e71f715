"""The last lines of a job's log: they may say what nothing else does."""

from __future__ import annotations

from contextlib import suppress

from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch.errors import BatchError

#: Where AWS Batch writes logs unless the definition says otherwise.
DEFAULT_GROUP = "/aws/batch/job"

#: How many lines are shown.
LINES = 20


async def last_lines(service: Service, group: str | None, stream: str) -> str:
    """Return the end of a log, empty if there is none or it cannot be had: it never hides why a job has ended."""

    def read() -> str:
        answer = service.logs.get_log_events(
            logGroupName=group or DEFAULT_GROUP, logStreamName=stream, limit=LINES, startFromHead=False
        )
        return "\n".join(event["message"] for event in answer["events"])

    with suppress(BatchError):
        return await service.run(read, f"GetLogEvents of {stream}") if stream else ""

    return ""
