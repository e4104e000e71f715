"""A job as DescribeJobs and ListJobs show it."""

from __future__ import annotations

from typing import Any

from .jobs import BEFORE_START, Attempt, Job


def describe(job: Job, summary_lag: float) -> dict[str, Any]:
    """Return what DescribeJobs says of it."""
    shown: dict[str, Any] = {
        **_head(job),
        "jobQueue": job.queue.arn,
        "attempts": [_attempt(job, attempt) for attempt in job.attempts if attempt.stopped_at],
        "dependsOn": job.request.get("dependsOn", []),
        "parameters": job.request.get("parameters", {}),
        "platformCapabilities": job.definition.request.get("platformCapabilities", ["EC2"]),
        "tags": job.tags,
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
        **_given(job, "retryStrategy", "timeout"),
    }

    if "schedulingPriorityOverride" in job.request:
        shown["schedulingPriority"] = job.request["schedulingPriorityOverride"]

    shown.update(_task(job) if "ecsProperties" in job.definition.request else {"container": _container(job)})
    return {**shown, **_array(job, summary_lag)}


def summarize(job: Job, summary_lag: float) -> dict[str, Any]:
    """Return what ListJobs says of it."""
    shown = _head(job)
    shown.update({key: True for key, order in _orders(job).items() if order})

    if job.attempts and "ecsProperties" not in job.definition.request:
        shown["container"] = _outcome(job.attempts[-1])

    array = _array(job, summary_lag)

    if not job.children:
        array.get("arrayProperties", {}).pop("statusSummary", None)

    return {**shown, **array}


def _head(job: Job) -> dict[str, Any]:
    """What both show."""
    optional = {
        "statusReason": job.status_reason,
        "startedAt": job.started_at,
        "stoppedAt": job.stopped_at,
        "shareIdentifier": job.request.get("shareIdentifier"),
    }
    return {
        "jobArn": job.arn,
        "jobId": job.id,
        "jobName": job.name,
        "status": job.status,
        "createdAt": job.created_at,
        "jobDefinition": job.definition.arn,
        **{key: value for key, value in optional.items() if value is not None},
    }


def _orders(job: Job) -> dict[str, bool]:
    return {"isCancelled": job.is_cancelled, "isTerminated": job.is_terminated}


def _given(job: Job, *keys: str) -> dict[str, Any]:
    """What the request says, or else the definition."""
    given = {**job.definition.request, **job.request}
    return {key: given[key] for key in keys if key in given}


def _array(job: Job, summary_lag: float) -> dict[str, Any]:
    if job.index is not None:
        return {"arrayProperties": {"index": job.index}}

    if job.size is None:
        return {}

    counted_at, counts = job.count_children(summary_lag)
    summary = {"statusSummary": counts, "statusSummaryLastUpdatedAt": counted_at}
    return {"arrayProperties": {"size": job.size, **summary}}


def _outcome(attempt: Attempt) -> dict[str, Any]:
    pairs = {"exitCode": attempt.exit_code, "reason": attempt.reason}
    return {key: value for key, value in pairs.items() if value is not None}


def _where(attempt: Attempt) -> dict[str, Any]:
    where = {"taskArn": attempt.task_arn}
    return where if attempt.instance_arn is None else {**where, "containerInstanceArn": attempt.instance_arn}


def _last(job: Job) -> dict[str, Any]:
    """What the container of the last attempt shows; its log stream has a name from RUNNING on, there or not."""
    last = job.attempts[-1]
    return _outcome(last) if job.status == "STARTING" else {**_outcome(last), "logStreamName": last.log_stream}


def _attempt(job: Job, attempt: Attempt) -> dict[str, Any]:
    times = {"startedAt": attempt.started_at, "stoppedAt": attempt.stopped_at, "statusReason": attempt.status_reason}
    shown = {key: value for key, value in times.items() if value is not None}
    container = {**_outcome(attempt), "logStreamName": attempt.log_stream}

    if "ecsProperties" in job.definition.request:
        return {
            **shown,
            "container": {},
            "taskProperties": [{**_where(attempt), "containers": [{"name": job.spec.name, **container}]}],
        }

    return {**shown, "container": {**_where(attempt), **container}}


def _container(job: Job) -> dict[str, Any]:
    kept = {key: value for key, value in job.spec.properties.items() if key not in ("vcpus", "memory")}
    return {**kept, **_where(job.attempts[-1]), **_last(job)} if _has_begun(job) else kept


def _task(job: Job) -> dict[str, Any]:
    task = dict(job.definition.request["ecsProperties"]["taskProperties"][0])
    container = dict(job.spec.properties)

    if _has_begun(job):
        task |= _where(job.attempts[-1])
        container |= _last(job)

    return {"container": {}, "ecsProperties": {"taskProperties": [{**task, "containers": [container]}]}}


def _has_begun(job: Job) -> bool:
    return bool(job.attempts) and job.status not in BEFORE_START
