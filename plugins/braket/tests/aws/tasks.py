"""Quantum tasks: what the API says of them, and how they come to an end."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from typing import Any

from . import simulating
from .account import NUMBER, Account, Resource, now
from .devices import Device, usable
from .searching import TASKS, matching, page
from .wire import ApiError, Request

QUEUE = "QUANTUM_TASKS_QUEUE"
SUMMARY = (
    "quantumTaskArn",
    "deviceArn",
    "shots",
    "outputS3Bucket",
    "outputS3Directory",
    "createdAt",
    "endedAt",
    "tags",
)


class QuantumTask(Resource):
    """One quantum task.

    Attributes:
        action: What it runs, in JSON.
        device: Where.
    """

    action: str
    device: Device


def create(account: Account, request: Request, s3: Any) -> dict[str, Any]:
    """CreateQuantumTask."""

    def make() -> dict[str, Any]:
        device = usable(account.devices, request["deviceArn"], request.region)
        check(account, device, request)
        check_bucket(s3(request.region), request["outputS3Bucket"])
        task = new_task(device, request, job_of(account, request.get("jobToken")))
        account.tasks[task.arn] = task
        threading.Thread(target=live, args=(account, task, s3), daemon=True).start()
        return {"quantumTaskArn": task.arn}

    return account.once(request, "ValidationException", make)


def check(account: Account, device: Device, request: Request) -> None:
    """Refuse what this device, or this account, does not take."""
    fewest, most = device.shots

    if device.arn in account.knobs.spending_limits_reached:
        raise ApiError("ValidationException", f"The spending limit for device {device.arn} would be exceeded.")

    try:
        kind = json.loads(request["action"])["braketSchemaHeader"]["name"]
    except (ValueError, KeyError, TypeError):
        raise ApiError("ValidationException", "The action is not valid.") from None

    if kind not in json.loads(device.capabilities)["action"]:
        raise ApiError("ValidationException", f"Device {device.name} does not support action {kind}.")

    if kind.endswith("program_set"):
        executables = simulating.executables_of(request["action"])
        most *= executables

        if request["shots"] % executables:
            raise ApiError("ValidationException", "Shots must be divisible by the number of executables.")

    if not fewest <= request["shots"] <= most:
        raise ApiError("ValidationException", f"Shots must be between {fewest} and {most}.")


def check_bucket(s3: Any, bucket: str) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except s3.exceptions.ClientError:
        raise ApiError("ValidationException", f"Caller doesn't have access to {bucket} or it doesn't exist") from None


def job_of(account: Account, token: str | None) -> dict[str, str]:
    """Return the job whose container has this token, if one is given, as long as that container is there."""
    if token is None:
        return {}

    for job in list(account.jobs.values()):
        if job.token == token and job.is_alive:
            return {"jobArn": job.arn}

    raise ApiError("ValidationException", "The job token is not valid.")


def new_task(device: Device, request: Request, job: dict[str, str]) -> QuantumTask:
    """Return what was asked for, as it begins."""
    name = str(uuid.uuid4())
    arn = f"arn:aws:braket:{request.region}:{NUMBER}:quantum-task/{name}"
    optional: dict[str, Any] = {
        name: request[name] for name in ("associations", "experimentalCapabilities") if name in request.fields
    }
    shown: dict[str, Any] = {
        "quantumTaskArn": arn,
        "deviceArn": device.arn,
        "deviceParameters": request.get("deviceParameters", "{}"),
        "shots": request["shots"],
        "outputS3Bucket": request["outputS3Bucket"],
        "outputS3Directory": f"{request['outputS3KeyPrefix']}/{name}",
        "createdAt": now(),
        "tags": dict(request.get("tags", {})),
        **optional,
        **job,
    }
    task = QuantumTask(arn, request.region, shown)
    task.action, task.device = request["action"], device
    task.become("CREATED")
    return task


def live(account: Account, task: QuantumTask, s3: Any) -> None:
    """Bring a quantum task to its end. Nothing but a cancel of its own stops it: not that of its job."""
    task.become("QUEUED")
    cancelled = account.wait(task, lambda: seconds_in_queue(account, task))

    if not cancelled:
        task.become("RUNNING")
        cancelled = run(account, task, s3)

    if cancelled:
        time.sleep(account.knobs.task_cancel_seconds)
        task.become("CANCELLED")


def seconds_in_queue(account: Account, task: QuantumTask) -> float:
    """Return for how long a task still waits; infinite where its device takes none from the queue."""
    if account.knobs.hold_tasks or not task.device.open:
        return math.inf

    return account.knobs.task_queue_seconds - task.age


def run(account: Account, task: QuantumTask, s3: Any) -> bool:
    """Run it, and store what comes out; return whether a cancel came before."""
    started, failure = time.monotonic(), account.knobs.task_failure
    bucket, folder = task.shown["outputS3Bucket"], task.shown["outputS3Directory"]

    try:
        result = simulating.run(task.action, task.shown["shots"], task.arn, task.device, (bucket, folder), failure)
    except Exception as error:
        conclude(task, f"{type(error).__name__}: {error}"[:1024])
        return False

    def left() -> float:
        return started + account.knobs.task_run_seconds - time.monotonic()

    if account.wait(task, left) and not (task.device.is_qpu and account.knobs.running_tasks_complete):
        return True

    time.sleep(max(left(), 0))

    for name, content in result.items():
        s3(task.region).put_object(Bucket=bucket, Key=f"{folder}/{name}", Body=content.encode())

    conclude(task, failure)
    return False


def conclude(task: QuantumTask, failure: str) -> None:
    """Say how it ended."""
    if failure:
        task.shown["failureReason"] = failure
        task.become("FAILED")
    else:
        task.shown["numSuccessfulShots"] = task.shown["shots"]
        task.become("COMPLETED")


def get(account: Account, request: Request) -> dict[str, Any]:
    """GetQuantumTask. What was RUNNING or has ended says what it was made of; before, that is absent."""
    task = account.find("quantum-task", request["quantumTaskArn"], request.region)
    status = task.status
    shown = {**task.shown, "status": status, "queueInfo": queue_of(account, task, status)}

    if status in ("RUNNING", "COMPLETED"):
        shown["actionMetadata"] = simulating.metadata_of(task.action)

    return shown


def queue_of(account: Account, task: QuantumTask, status: str) -> dict[str, str]:
    priority = "Priority" if "jobArn" in task.shown else "Normal"

    if status not in ("CREATED", "QUEUED"):
        message = f"Task is in {status} status. AmazonBraket does not show queue position for this status."
        return {"queue": QUEUE, "position": "None", "queuePriority": priority, "message": message}

    waiting = [
        other
        for other in list(account.tasks.values())
        if other.device is task.device and other.status in ("CREATED", "QUEUED")
    ]
    place = task.device.queued + waiting.index(task) + 1 if task in waiting else 1
    return {"queue": QUEUE, "position": str(place) if place <= 2000 else ">2000", "queuePriority": priority}


def search(account: Account, request: Request) -> dict[str, Any]:
    """SearchQuantumTasks: what was known some time ago."""
    known = []

    for task in reversed(list(account.tasks.values())):
        status = task.status_before(account.knobs.search_lag_seconds)
        forgotten = task.ended and task.age > account.knobs.forget_seconds

        if status is not None and task.region == request.region and not forgotten:
            known.append({**task.shown, "status": status})

    found, more = page(matching(known, request["filters"], TASKS), request, account.knobs.page_size)
    summaries = [{name: item[name] for name in (*SUMMARY, "status") if name in item} for item in found]
    return {"quantumTasks": summaries, **more}


def cancel(account: Account, request: Request) -> dict[str, Any]:
    """CancelQuantumTask."""
    task = account.find("quantum-task", request["quantumTaskArn"], request.region)

    if task.ended:
        raise ApiError("ConflictException", f"The quantum task is in {task.status} state and cannot be cancelled.")

    account.order_end(task)
    return {"quantumTaskArn": task.arn, "cancellationStatus": "CANCELLING"}
