"""A job as DescribeJobs and ListJobs show it."""

from __future__ import annotations

from typing import Any

from .jobs import BEFORE_START, Attempt, Job


def describe(job: Job, summary_lag: float) -> dict[str, Any]:
    """Return what DescribeJobs says of it."""
    shown: dict[str, Any] = {
        **_head(job),
        "jobQueue": job.queue.arn,
        "startedAt": job.started_at or 0,
        "attempts": [_attempt(job, attempt) for attempt in job.attempts if attempt.stopped_at],
        "dependsOn": job.request.get("dependsOn", []),
        "parameters": job.request.get("parameters", {}),
        "platformCapabilities": job.definition.request.get("platformCapabilities", ["EC2"]),
        "tags": job.request.get("tags", {}),
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

    if job.started_at:
        shown["startedAt"] = job.started_at

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


def _stream(attempt: Attempt) -> dict[str, Any]:
    return {} if attempt.log_stream is None else {"logStreamName": attempt.log_stream}


def _attempt(job: Job, attempt: Attempt) -> dict[str, Any]:
    times = {"startedAt": attempt.started_at, "stoppedAt": attempt.stopped_at, "statusReason": attempt.status_reason}
    shown = {key: value for key, value in times.items() if value is not None}
    container = {**_outcome(attempt), **_stream(attempt)}

    if "ecsProperties" in job.definition.request:
        return {
            **shown,
            "container": {},
            "taskProperties": [{**_where(attempt), "containers": [{"name": job.spec.name, **container}]}],
        }

    return {**shown, "container": {**_where(attempt), **container}}


def _last(job: Job) -> Attempt | None:
    """The attempt that a job which has got so far shows."""
    return None if job.status in BEFORE_START or not job.attempts else job.attempts[-1]


def _container(job: Job) -> dict[str, Any]:
    kept = {key: value for key, value in job.spec.properties.items() if key not in ("vcpus", "memory")}
    last = _last(job)
    return kept if last is None else {**kept, **_where(last), **_stream(last), **_outcome(last)}


def _task(job: Job) -> dict[str, Any]:
    task = job.definition.request["ecsProperties"]["taskProperties"][0]
    last = _last(job)
    container = {**job.spec.properties, **({} if last is None else {**_stream(last), **_outcome(last)})}
    where = {} if last is None else _where(last)
    return {"container": {}, "ecsProperties": {"taskProperties": [{**task, **where, "containers": [container]}]}}
