"""The queue that jobs go to: what it is, whether it can take them, and what keeps them waiting in it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch.errors import BatchRefusedError

#: Seconds for which what was seen of a queue is taken to be still so.
FRESH = 120.0


@dataclass(frozen=True)
class Queue:
    """What is known of a queue.

    Attributes:
        platform: ``EC2`` or ``FARGATE``.
        shares: Whether it is a fair-share queue.
        trouble: What keeps its jobs waiting, in words for the user; empty if nothing is known of that.
    """

    name: str
    platform: str
    shares: bool
    trouble: str = ""


class Queues:
    """The queues of an account."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._seen: dict[str, tuple[float, Queue]] = {}

    async def look(self, name: str) -> Queue:
        """Return what a queue is.

        Raises:
            BatchRefusedError: There is none, or none that this executor can use.
        """
        async with self._lock:
            seen_at, queue = self._seen.get(name, (float("-inf"), None))

            if queue is None or time.monotonic() > seen_at + FRESH:
                queue = await self._look(name)
                self._seen[name] = (time.monotonic(), queue)

            return queue

    async def _look(self, name: str) -> Queue:
        batch = self._service.batch
        answer = await self._service.call(batch.describe_job_queues, f"DescribeJobQueues of {name}", jobQueues=[name])

        if not answer["jobQueues"]:
            raise BatchRefusedError(
                f"there is no job queue {name!r} in {self._service.region}; set batch_queue and region as "
                f"'aws batch describe-job-queues' shows them"
            )

        queue = answer["jobQueues"][0]
        names = [entry["computeEnvironment"] for entry in queue.get("computeEnvironmentOrder", ())]

        if queue.get("jobQueueType") in ("EKS", "SAGEMAKER_TRAINING"):
            raise BatchRefusedError(_unfit(name, queue["jobQueueType"]))

        asked = f"DescribeComputeEnvironments of the queue {name}"
        answer = await self._service.call(batch.describe_compute_environments, asked, computeEnvironments=names)
        return described(queue, answer["computeEnvironments"])


def described(queue: dict[str, Any], environments: list[dict[str, Any]]) -> Queue:
    """Return what the answers of AWS say of a queue.

    Raises:
        BatchRefusedError: This executor cannot use it.
    """
    name = queue["jobQueueName"]

    if any("eksConfiguration" in environment for environment in environments):
        raise BatchRefusedError(_unfit(name, "EKS"))

    kinds = [str(environment.get("computeResources", {}).get("type", "EC2")) for environment in environments]
    platform = "FARGATE" if kinds and all(kind.startswith("FARGATE") for kind in kinds) else "EC2"
    return Queue(name, platform, "schedulingPolicyArn" in queue, _trouble(queue, environments))


def _unfit(name: str, kind: str) -> str:
    return f"the job queue {name!r} is one of {kind}, which this executor cannot use; name one on Fargate or EC2"


def _trouble(queue: dict[str, Any], environments: list[dict[str, Any]]) -> str:
    if queue.get("state") == "DISABLED":
        return f"the job queue {queue['jobQueueName']} is disabled"

    if queue.get("status") == "INVALID":
        return f"the job queue {queue['jobQueueName']} is invalid: {queue.get('statusReason', 'no reason is given')}"

    troubles = [_trouble_of(environment) for environment in environments]
    return "; ".join(filter(None, troubles)) if all(troubles) else ""


def _trouble_of(environment: dict[str, Any]) -> str:
    name = environment["computeEnvironmentName"]

    if environment.get("state") == "DISABLED":
        return f"the compute environment {name} is disabled"

    if environment.get("status") == "INVALID":
        said = environment.get("statusReason", "no reason is given")
        return f"the compute environment {name} is invalid: {said}"

    if environment.get("computeResources", {}).get("maxvCpus") == 0:
        return f"the compute environment {name} may have no vCPUs (maxvCpus is 0)"

    return ""
