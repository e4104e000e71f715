"""SubmitJob: what is refused, and the job that comes of it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from .definitions import Definition
from .errors import require
from .jobs import Job
from .queues import Queue
from .rules import (
    check_command,
    check_environment,
    check_name,
    check_resources,
    check_retries,
    check_tags,
    check_timeout,
)
from .spec import ContainerSpec, spec_of

MOST_BYTES = 30 * 1024


def new_job(request: dict[str, Any], queue: Queue, definition: Definition, arn_prefix: str) -> Job:
    """Return the job that this request asks for.

    Raises:
        ApiError: AWS would not take it.
    """
    _check_request(request)
    _check_queue(queue, definition, request)
    spec = spec_of(definition.request, request)
    _check_spec(spec, definition)
    id_ = str(uuid.uuid4())
    return Job(
        id=id_,
        arn=f"{arn_prefix}:job/{id_}",
        queue=queue,
        definition=definition,
        request=request,
        spec=spec,
        size=request.get("arrayProperties", {}).get("size"),
    )


def child_of(parent: Job, index: int) -> Job:
    """Return a child of an array, with all that its parent was given."""
    return Job(
        id=f"{parent.id}:{index}",
        arn=f"{parent.arn}:{index}",
        queue=parent.queue,
        definition=parent.definition,
        request=parent.request,
        spec=parent.spec,
        index=index,
        parent=parent,
    )


def _check_request(request: dict[str, Any]) -> None:
    check_name(request["jobName"], "Job")
    require(len(json.dumps(request)) <= MOST_BYTES, "Request size exceeds the limit of 30 KiB")
    check_tags(request.get("tags", {}))
    check_retries(request.get("retryStrategy", {}))
    check_timeout(request.get("timeout", {}))
    require(len(request.get("dependsOn", [])) <= 20, "A job may depend on at most 20 jobs")
    require("nodeOverrides" not in request and "eksPropertiesOverride" not in request, "Override type does not fit.")

    if "arrayProperties" in request:
        size = request["arrayProperties"].get("size", 0)
        require(2 <= size <= 10_000, f"Array size must be between 2 and 10000, not {size}")


def _check_queue(queue: Queue, definition: Definition, request: dict[str, Any]) -> None:
    require(queue.request.get("state", "ENABLED") == "ENABLED", f"JobQueue {queue.name} is not in ENABLED state.")
    share = request.get("shareIdentifier")

    if queue.is_fair_share:
        require(share, f"shareIdentifier must be specified for job queue {queue.name} with a scheduling policy.")
    else:
        require(share is None, f"shareIdentifier cannot be specified for job queue {queue.name}: no scheduling policy.")
        priority = "schedulingPriorityOverride"
        require(priority not in request, f"{priority} cannot be specified for job queue {queue.name}.")

    environment = queue.environments[0]
    require(not environment.is_eks, "containerOverrides and ECS job definitions cannot be used on an EKS job queue.")
    fits = definition.is_fargate == environment.is_fargate
    require(fits, f"Job definition {definition.arn} does not fit the platform of job queue {queue.name}.")
    managed = environment.type == "ECS_MANAGED_INSTANCES"
    require(not managed or "ecsProperties" in definition.request, "Managed instances require ecsProperties.")


def _check_spec(spec: ContainerSpec, definition: Definition) -> None:
    check_command(spec.command)
    check_environment([{"name": name} for name in spec.environment])
    check_resources(spec.resources, definition.is_fargate)
