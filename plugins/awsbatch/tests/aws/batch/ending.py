"""CancelJob and TerminateJob, and their bulk calls: what is accepted, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import require
from .jobs import BEFORE_START, Job

MOST_IN_BULK = 50
MOST_REASON = 1024
_JOB_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}([:#][0-9]+)?"
_MESSAGES = {"AccessDenied": "User is not authorized to perform: batch:TerminateJob", "ServerException": "Try again"}
Order = Callable[[Job, str], None]


def cancel(job: Job, reason: str) -> None:
    """Cancel what has not started; accepted without effect for what has."""
    if job.size is not None and not job.has_ended:
        _order_array(job, reason, cancel)
        job.is_cancelled = True
    elif job.status in BEFORE_START:
        job.is_cancelled = True
        _order(job, reason)


def terminate(job: Job, reason: str) -> None:
    """End it in whatever state it is; accepted without effect for what has ended."""
    if job.has_ended:
        return

    job.is_terminated = True

    if job.size is not None:
        _order_array(job, reason, terminate)
    else:
        _order(job, reason)


def _order_array(parent: Job, reason: str, order: Order) -> None:
    for child in parent.children.values():
        order(child, reason)

    _order(parent, reason)


def _order(job: Job, reason: str) -> None:
    if job.order is None:
        job.order = reason

    job.ordered.set()


def one(jobs: Mapping[str, Job], request: dict[str, Any], order: Order) -> dict[str, Any]:
    """Answer CancelJob or TerminateJob; an unknown id is a success."""
    _check_reason(request["reason"])
    require(re.fullmatch(_JOB_ID, request["jobId"]), f"Invalid job ID: {request['jobId']}")

    if (job := jobs.get(request["jobId"])) is not None:
        order(job, request["reason"])

    return {}


def many(jobs: Mapping[str, Job], request: dict[str, Any], order: Order, every: int, code: str) -> dict[str, Any]:
    """Answer CancelJobs or TerminateJobs: id by id, each accepted or refused; unknown ids are successes.

    Args:
        every: Every so many-th id is refused; 0 is none.
        code: With this code.
    """
    _check_reason(request["reason"])
    require(1 <= len(request["jobs"]) <= MOST_IN_BULK, f"jobs must have between 1 and {MOST_IN_BULK} elements")
    errors = []

    for number, id_ in enumerate(request["jobs"], start=1):
        if not re.fullmatch(_JOB_ID, id_):
            errors.append({"job": id_, "code": "ValidationException", "message": f"Invalid job ID: {id_}"})
        elif every and number % every == 0:
            errors.append({"job": id_, "code": code, "message": _MESSAGES.get(code, "Rate exceeded")})
        elif (job := jobs.get(id_)) is not None:
            order(job, request["reason"])

    refused = {error["job"] for error in errors}
    return {"successful": [id_ for id_ in request["jobs"] if id_ not in refused], "errors": errors}


def _check_reason(reason: str) -> None:
    require(len(reason) <= MOST_REASON, f"reason must be at most {MOST_REASON} characters")
