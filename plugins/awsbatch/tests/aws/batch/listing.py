"""ListJobs: by queue or by array, by status or by one filter, newest first, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .errors import require
from .jobs import Job

PAGE = 1000
PAGE_WITH_FILTER = 100


def list_jobs(request: dict[str, Any], jobs: Iterable[Job], queue_arn: str | None) -> tuple[list[Job], str | None]:
    """Return the jobs of one page, and the token of the next.

    Without a status only RUNNING ones are listed; with a filter the status does not count, and children of arrays are
    not found.
    """
    given = [key for key in ("jobQueue", "arrayJobId", "multiNodeJobId") if key in request]
    require(len(given) == 1, "Exactly one of jobQueue, arrayJobId, multiNodeJobId must be specified")
    filters = request.get("filters", [])
    require(len(filters) <= 1, "Only one filter can be used at a time")

    if "arrayJobId" in request:
        chosen = [job for job in jobs if job.parent is not None and job.parent.id == request["arrayJobId"]]
    else:
        chosen = [job for job in jobs if job.queue.arn == queue_arn and job.parent is None]

    match = _filter(filters[0]) if filters else None

    if match is not None:
        chosen = [job for job in chosen if match(job)]

    if match is None or (filters[0]["name"] == "SHARE_IDENTIFIER" and "jobStatus" in request):
        chosen = [job for job in chosen if job.status == request.get("jobStatus", "RUNNING")]

    chosen.sort(key=lambda job: (job.born, job.index or 0), reverse=True)
    return _page(chosen, request, PAGE_WITH_FILTER if filters else PAGE)


def _page(jobs: list[Job], request: dict[str, Any], most: int) -> tuple[list[Job], str | None]:
    first, size = int(request.get("nextToken", 0)), min(request.get("maxResults", most), most)
    require(size >= 1, "maxResults must be at least 1")
    rest = first + size
    return jobs[first:rest], str(rest) if rest < len(jobs) else None


def _filter(filter_: dict[str, Any]) -> Callable[[Job], bool]:
    name, values = filter_.get("name", ""), filter_.get("values", [])

    if name == "JOB_NAME":
        return lambda job: any(_matches(value.lower(), job.name.lower()) for value in values)

    if name == "JOB_DEFINITION":
        return lambda job: any(_matches(v, job.definition.name) or v == job.definition.arn for v in values)

    if name == "SHARE_IDENTIFIER":
        return lambda job: any(_matches(value, job.request.get("shareIdentifier", "")) for value in values)

    require(name in ("BEFORE_CREATED_AT", "AFTER_CREATED_AT") and len(values) == 1, f"Invalid filter: {name}")
    border = int(values[0])
    return lambda job: job.created_at < border if name.startswith("BEFORE") else job.created_at > border


def _matches(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def is_known(job: Job, hidden_for: float, remembered_for: float | None) -> bool:
    """Whether AWS tells of it: not yet right after its submission, and no more long after its end."""
    moment = time.monotonic()
    forgotten = remembered_for is not None and job.ended is not None and moment - job.ended >= remembered_for
    return not forgotten and moment - job.born >= hidden_for
