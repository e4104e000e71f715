"""Job queues, compute environments and scheduling policies, and who gets a place."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .errors import ApiError, require


@dataclass(eq=False)
class ComputeEnvironment:
    """Where jobs run."""

    name: str
    arn: str
    request: dict[str, Any]
    status: str = "VALID"
    status_reason: str = "ComputeEnvironment Healthy"
    used: float = 0.0

    @property
    def type(self) -> str:
        """EC2, SPOT, FARGATE, FARGATE_SPOT or ECS_MANAGED_INSTANCES."""
        return str(self.request.get("computeResources", {}).get("type", "EC2"))

    @property
    def is_fargate(self) -> bool:
        """Whether it has no instances that a user could see."""
        return self.type.startswith("FARGATE")

    @property
    def is_spot(self) -> bool:
        """Whether AWS may take its capacity away."""
        return "SPOT" in self.type

    @property
    def is_eks(self) -> bool:
        """Whether Kubernetes runs the jobs."""
        return "eksConfiguration" in self.request

    def fits(self, vcpus: float) -> bool:
        """Whether there is room for this much now."""
        most = self.request.get("computeResources", {}).get("maxvCpus", 256)
        usable = self.status == "VALID" and self.request.get("state", "ENABLED") == "ENABLED"
        return usable and self.used + vcpus <= most

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeComputeEnvironments does."""
        kept = "type", "state", "computeResources", "serviceRole", "tags", "eksConfiguration", "unmanagedvCpus"
        return {
            "computeEnvironmentName": self.name,
            "computeEnvironmentArn": self.arn,
            "ecsClusterArn": self.arn.replace(":batch:", ":ecs:").replace("compute-environment/", "cluster/"),
            "status": self.status,
            "statusReason": self.status_reason,
            "containerOrchestrationType": "EKS" if self.is_eks else "ECS",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, self.arn)),
            "state": "ENABLED",
            **{key: self.request[key] for key in kept if key in self.request},
        }


@dataclass
class Place:
    """A job's place in the line of its queue, and where it runs once it is its turn."""

    vcpus: float
    turn: asyncio.Future[ComputeEnvironment]


@dataclass(eq=False)
class Queue:
    """Where jobs wait, first come, first served."""

    name: str
    arn: str
    request: dict[str, Any]
    environments: list[ComputeEnvironment]
    held: bool = False
    held_because: str | None = None
    line: deque[Place] = field(default_factory=deque)

    @property
    def is_fair_share(self) -> bool:
        """Whether jobs need a share identifier."""
        return "schedulingPolicyArn" in self.request

    def describe(self) -> dict[str, Any]:
        """Return it as DescribeJobQueues does."""
        return {
            "jobQueueName": self.name,
            "jobQueueArn": self.arn,
            "status": "VALID",
            "statusReason": "JobQueue Healthy",
            "state": "ENABLED",
            "jobQueueType": self._type(),
            **self.request,
        }

    def _type(self) -> str:
        first = self.environments[0]
        return "EKS" if first.is_eks else "ECS_FARGATE" if first.is_fargate else "ECS"

    def join(self, vcpus: float) -> Place:
        """Get into the line."""
        place = Place(vcpus, asyncio.get_running_loop().create_future())
        self.line.append(place)
        self.serve()
        return place

    def leave(self, place: Place) -> None:
        """Get out of the line, or give back what was got."""
        if place in self.line:
            self.line.remove(place)

        if place.turn.done() and not place.turn.cancelled():
            place.turn.result().used -= place.vcpus

        self.serve()

    def reason_for(self, place: Place | None) -> str | None:
        """Return why this place does not get its turn: AWS tells it to the first in the line only."""
        return self.held_because if self.line and self.line[0] is place else None

    def serve(self) -> None:
        """Let those start for whom there is room, in their order."""
        while self.line and not self.held:
            place = self.line[0]
            environment = next((e for e in self.environments if e.fits(place.vcpus)), None)

            if environment is None:
                return

            self.line.popleft()
            environment.used += place.vcpus
            place.turn.set_result(environment)


class Queues:
    """The queues of one region, with what they need."""

    def __init__(self, arn_prefix: str) -> None:
        self._prefix = arn_prefix
        self.queues: dict[str, Queue] = {}
        self.environments: dict[str, ComputeEnvironment] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def queue(self, name_or_arn: str) -> Queue:
        """Return this queue.

        Raises:
            ApiError: There is none.
        """
        found = self.queues.get(name_or_arn.rpartition("/")[2])
        require(found, f"JobQueue {name_or_arn} not found.")
        assert found is not None
        return found

    def environment(self, name_or_arn: str) -> ComputeEnvironment:
        """Return this compute environment.

        Raises:
            ApiError: There is none.
        """
        found = self.environments.get(name_or_arn.rpartition("/")[2])

        if found is None:
            raise ApiError(f"Object does not exist: {name_or_arn}")

        return found

    def create_compute_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer CreateComputeEnvironment."""
        name = request["computeEnvironmentName"]
        require(name not in self.environments, "Object already exists")
        made = ComputeEnvironment(name, f"{self._prefix}:compute-environment/{name}", request)
        self.environments[name] = made
        return {"computeEnvironmentName": name, "computeEnvironmentArn": made.arn}

    def update_compute_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer UpdateComputeEnvironment, of which only the state and the most vCPUs count."""
        environment = self.environment(request["computeEnvironment"])
        environment.request["state"] = request.get("state", environment.request.get("state", "ENABLED"))
        environment.request.setdefault("computeResources", {}).update(request.get("computeResources", {}))
        self.serve()
        return {"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}

    def delete_compute_environment(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DeleteComputeEnvironment."""
        del self.environments[self.environment(request["computeEnvironment"]).name]
        return {}

    def describe_compute_environments(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DescribeComputeEnvironments."""
        return {"computeEnvironments": [e.describe() for e in _chosen(self.environments, request)]}

    def create_job_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer CreateJobQueue."""
        name = request["jobQueueName"]
        require(name not in self.queues, "Object already exists")
        ordered = sorted(request["computeEnvironmentOrder"], key=lambda entry: int(entry["order"]))
        environments = [self.environment(entry["computeEnvironment"]) for entry in ordered]
        made = Queue(name, f"{self._prefix}:job-queue/{name}", request, environments)
        self.queues[name] = made
        return {"jobQueueName": name, "jobQueueArn": made.arn}

    def update_job_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer UpdateJobQueue."""
        queue = self.queue(request["jobQueue"])
        queue.request.update({key: value for key, value in request.items() if key != "jobQueue"})
        self.serve()
        return {"jobQueueName": queue.name, "jobQueueArn": queue.arn}

    def delete_job_queue(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DeleteJobQueue."""
        self.queues.pop(request["jobQueue"].rpartition("/")[2], None)
        return {}

    def describe_job_queues(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer DescribeJobQueues."""
        return {"jobQueues": [q.describe() for q in _chosen(self.queues, request, "jobQueues")]}

    def create_scheduling_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer CreateSchedulingPolicy."""
        arn = f"{self._prefix}:scheduling-policy/{request['name']}"
        self.policies[arn] = request
        return {"name": request["name"], "arn": arn}

    def heal(self) -> None:
        """Let no queue be held any more, and every compute environment be valid."""
        for queue in self.queues.values():
            queue.held, queue.held_because = False, None

        for environment in self.environments.values():
            environment.status, environment.status_reason = "VALID", "ComputeEnvironment Healthy"

        self.serve()

    def serve(self) -> None:
        """Let those start for whom there is room now."""
        for queue in self.queues.values():
            queue.serve()


def _chosen(things: dict[str, Any], request: dict[str, Any], key: str = "computeEnvironments") -> list[Any]:
    """Those that the request names, unknown ones left out; all, when it names none."""
    names = [name.rpartition("/")[2] for name in request.get(key) or things]
    return [things[name] for name in names if name in things]
