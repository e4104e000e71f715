"""Hybrid jobs: what the API says of them."""

from __future__ import annotations

import re
import threading
import uuid
from typing import Any

from . import hosting
from .account import NUMBER, Account, now
from .devices import usable
from .hosting import Host, HybridJob
from .quotas import INSTANCES, INSTANCES_OTHERWISE
from .searching import JOBS, matching, page
from .wire import ApiError, Request

QUEUE = "JOBS_QUEUE"
ROLE = re.compile(r"^arn:aws:iam::\d{12}:role/service-role/(AmazonBraketJobsExecutionRole[\w+=,.@-]*)$")

#: The run time of who names none: five days.
LONGEST_SECONDS = 432_000

KEPT: tuple[str, ...] = (
    "jobName",
    "roleArn",
    "algorithmSpecification",
    "inputDataConfig",
    "instanceConfig",
    "outputDataConfig",
)
KEPT += ("checkpointConfig", "deviceConfig", "hyperParameters", "stoppingCondition", "associations")
SUMMARY = ("jobArn", "jobName", "status", "createdAt", "startedAt", "endedAt", "tags")


def create(account: Account, request: Request, host: Host) -> dict[str, Any]:
    """CreateJob."""

    def make() -> dict[str, Any]:
        check(account, request, host)
        job = new_job(request)
        account.jobs[job.arn] = job
        threading.Thread(target=hosting.live, args=(account, job, host), daemon=True).start()
        return {"jobArn": job.arn}

    return account.once(request, "ConflictException", make)


def check(account: Account, request: Request, host: Host) -> None:
    """Refuse what Amazon refuses."""
    caller = f"arn:aws:iam::{NUMBER}:user/{account.access_key}"

    if not account.knobs.account_enabled:
        raise ApiError("AccessDeniedException", "This account is not authorized to use this resource.")

    role = ROLE.match(request["roleArn"])

    if role is None:
        what = f"User: {caller} is not authorized to perform: iam:PassRole on resource: {request['roleArn']}"
        raise ApiError("AccessDeniedException", what)

    if not host.has_role(role[1]):
        raise ApiError("ValidationException", "The role cannot be assumed by Braket.", f"no role {role[1]}")

    device = request["deviceConfig"]["device"]

    if not device.startswith("local:"):
        usable(account.devices, device, request.region)

    check_sizes(request)
    check_quotas(account, request)


def check_sizes(request: Request) -> None:
    algorithm = request["algorithmSpecification"]
    seconds = request.get("stoppingCondition", {}).get("maxRuntimeInSeconds", 1)
    image = algorithm.get("containerImage", {}).get("uri", f"0.dkr.ecr.{request.region}.")

    if "scriptModeConfig" not in algorithm:
        raise ApiError("ValidationException", "Invalid request body", "no scriptModeConfig")

    if not 1 <= seconds <= LONGEST_SECONDS:
        raise ApiError("ValidationException", "Invalid request body", f"{seconds} s of run time")

    if f".ecr.{request.region}." not in image:
        raise ApiError("ValidationException", "The container image is not in the region of the job.")

    if any(len(value) > 2500 for value in request.get("hyperParameters", {}).values()):
        raise ApiError("ValidationException", "Invalid request body", "a hyperparameter of more than 2500 characters")


def check_quotas(account: Account, request: Request) -> None:
    kind = request["instanceConfig"]["instanceType"]
    allowed = INSTANCES.get(kind.rpartition(".")[0], INSTANCES_OTHERWISE)
    running = [job for job in list(account.jobs.values()) if not job.ended]
    alike = [job for job in running if job.shown["instanceConfig"]["instanceType"] == kind]
    wanted = request["instanceConfig"].get("instanceCount", 1)
    ask = "Please contact AWS Support to request an increase for this quota."

    if wanted > 1:
        what = f"You have exceeded the service quota of 1 for instances per hybrid job. {ask}"
        raise ApiError("ServiceQuotaExceededException", what)

    if wanted + len(alike) > allowed:
        what = f"You have exceeded the service quota of {allowed} for instances of type {kind}. {ask}"
        raise ApiError("ServiceQuotaExceededException", what)

    if len(running) >= account.knobs.concurrent_jobs:
        limit = account.knobs.concurrent_jobs
        what = f"You have exceeded the service quota of {limit} for concurrent hybrid jobs. {ask}"
        raise ApiError("ServiceQuotaExceededException", what)


def new_job(request: Request) -> HybridJob:
    """Return what was asked for, as it begins."""
    name = str(uuid.uuid4())
    arn = f"arn:aws:braket:{request.region}:{NUMBER}:job/{name}"
    shown = {"jobArn": arn, "createdAt": now(), "events": [], "tags": dict(request.get("tags", {}))}
    shown |= {field: request[field] for field in KEPT if field in request.fields}
    shown["stoppingCondition"] = {"maxRuntimeInSeconds": LONGEST_SECONDS, **request.get("stoppingCondition", {})}
    job = HybridJob(arn, request.region, shown)
    job.become("QUEUED")
    return job


def get(account: Account, request: Request) -> dict[str, Any]:
    """GetJob."""
    job = account.find("job", request["jobArn"], request.region)
    status = job.status
    return {**job.shown, "events": list(job.shown["events"]), "status": status, "queueInfo": queue_of(account, job)}


def queue_of(account: Account, job: HybridJob) -> dict[str, str]:
    status = job.status

    if status != "QUEUED":
        message = f"Job is in {status} status. AmazonBraket does not show queue position for this status."
        return {"queue": QUEUE, "position": "None", "message": message}

    waiting = [other for other in list(account.jobs.values()) if other.status == "QUEUED"]
    return {"queue": QUEUE, "position": str(waiting.index(job) + 1 if job in waiting else 1)}


def search(account: Account, request: Request) -> dict[str, Any]:
    """SearchJobs: what was known some time ago. It never says why a job has failed."""
    known = []

    for job in reversed(list(account.jobs.values())):
        status = job.status_before(account.knobs.search_lag_seconds)
        forgotten = job.ended and job.age > account.knobs.forget_seconds

        if status is not None and job.region == request.region and not forgotten:
            known.append({**job.shown, "status": status, "deviceArn": job.shown["deviceConfig"]["device"]})

    found, more = page(matching(known, request["filters"], JOBS), request, account.knobs.page_size)
    summaries = [
        {"device": item["deviceArn"], **{name: item[name] for name in SUMMARY if name in item}} for item in found
    ]
    return {"jobs": summaries, **more}


def cancel(account: Account, request: Request) -> dict[str, Any]:
    """CancelJob. It does nothing about the job's quantum tasks: Amazon promises its best effort, and this is it."""
    job = account.find("job", request["jobArn"], request.region)

    if job.ended:
        raise ApiError("ConflictException", f"The job is in {job.status} state and cannot be cancelled.")

    account.order_end(job)
    return {"jobArn": job.arn, "cancellationStatus": "CANCELLING"}
