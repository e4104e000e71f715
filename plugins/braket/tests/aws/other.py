"""Devices, tags and spending limits."""

from __future__ import annotations

from typing import Any

from .account import NUMBER, Account
from .searching import DEVICES, matching, page
from .wire import ApiError, Request


def get_device(account: Account, request: Request) -> dict[str, Any]:
    """GetDevice: of those that are retired as well."""
    device = account.devices.get(request["deviceArn"])

    if device is None or not device.is_in(request.region):
        raise ApiError("ResourceNotFoundException", f"Device {request['deviceArn']} not found")

    queued = str(device.queued) if device.queued <= 4000 else ">4000"

    return {
        **device.summary,
        **device.status_reason,
        "deviceCapabilities": device.capabilities,
        "deviceQueueInfo": [
            {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": queued, "queuePriority": "Normal"},
            {"queue": "QUANTUM_TASKS_QUEUE", "queueSize": "0", "queuePriority": "Priority"},
            {"queue": "JOBS_QUEUE", "queueSize": "0"},
        ],
    }


def search_devices(account: Account, request: Request) -> dict[str, Any]:
    """SearchDevices."""
    known = [device.summary for device in account.devices.values() if device.is_in(request.region)]
    found, more = page(matching(known, request["filters"], DEVICES), request, account.knobs.page_size)
    return {"devices": found, **more}


def tags_of(account: Account, request: Request) -> dict[str, str]:
    arn = request["resourceArn"]
    kind = arn.split(":")[-1].partition("/")[0]

    if kind not in ("job", "quantum-task"):
        raise ApiError("ResourceNotFoundException", f"{arn} not found")

    tags: dict[str, str] = account.find(kind, arn, request.region).shown["tags"]
    return tags


def tag(account: Account, request: Request) -> dict[str, Any]:
    """TagResource."""
    tags_of(account, request).update(request["tags"])
    return {}


def untag(account: Account, request: Request) -> dict[str, Any]:
    """UntagResource."""
    tags = tags_of(account, request)

    for key in request["tagKeys"]:
        tags.pop(key, None)

    return {}


def list_tags(account: Account, request: Request) -> dict[str, Any]:
    """ListTagsForResource."""
    return {"tags": dict(tags_of(account, request))}


def spending_limits(account: Account, request: Request) -> dict[str, Any]:
    """All that has to do with spending limits: this account may not. A test says itself which limits are reached."""
    caller = f"arn:aws:iam::{NUMBER}:user/{account.access_key}"
    what = f"User: {caller} is not authorized to perform: braket:{request.operation}"
    raise ApiError("AccessDeniedException", what)
