"""What a job definition says of a job, and its name, which is made from all that it says."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from covalent_core.errors import ExecutorOptionError
from covalent_core_awsbatch._resources import Resources
from covalent_core_awsbatch._start import start_command

#: The names of all job definitions of this package begin with it.
FAMILY = "covalent-core-"

#: The name of the container.
CONTAINER = "task"

#: The longest time, in seconds, that Fargate leaves between SIGTERM and SIGKILL; the shortest that ECS takes.
FARGATE_STOP, SHORTEST_STOP = 120, 2

#: Seconds that the agent needs besides the grace period to bring the results of a task that was ended to S3.
DELIVERY = 15

#: Batch ends what has run for so many seconds longer than its time limit; it takes no limit below a minute.
NET, SHORTEST_LIMIT = 60, 60

#: How much a definition may say, in bytes.
LARGEST = 24 * 1024

#: Sizes of ``ephemeral_storage`` in GiB.
EPHEMERAL = (21, 200)


@dataclass(frozen=True)
class Definition:
    """What all jobs that run in the same way have in common.

    Attributes:
        platform: ``EC2`` or ``FARGATE``.
        execution_role: The ARN of the role that pulls the image and writes the log.
        job_role: The ARN of the role that the task has.
        shared_memory: The size of ``/dev/shm`` in MiB.
        ephemeral_storage: The size of the disk on Fargate in GiB.
    """

    image: str
    platform: str
    resources: Resources
    grace: float
    python: str = "python3"
    time_limit: float | None = None
    execution_role: str | None = None
    job_role: str | None = None
    log_group: str | None = None
    region: str = ""
    assign_public_ip: bool = False
    ephemeral_storage: int | None = None
    architecture: str | None = None
    shared_memory: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def stop_seconds(self) -> int:
        """How long after SIGTERM the container is killed."""
        return stop_seconds(self.platform, self.grace)

    @property
    def request(self) -> dict[str, Any]:
        """What RegisterJobDefinition is given.

        Raises:
            ExecutorOptionError: It is more than Batch takes.
        """
        content = self._content()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        request = {"jobDefinitionName": f"{FAMILY}{digest[:24]}", **content}

        if (size := len(json.dumps(request))) > LARGEST:
            raise ExecutorOptionError(
                f"the job definition has {size} bytes, and AWS Batch takes {LARGEST}; shorten tags"
            )

        return request

    def _content(self) -> dict[str, Any]:
        task: dict[str, Any] = {"containers": [self._container()]}
        task |= {"executionRoleArn": self.execution_role} if self.execution_role else {}
        task |= {"taskRoleArn": self.job_role} if self.job_role else {}
        task |= {"ephemeralStorage": {"sizeInGiB": self.ephemeral_storage}} if self.ephemeral_storage else {}

        if self.platform == "FARGATE":
            task["networkConfiguration"] = {"assignPublicIp": "ENABLED" if self.assign_public_ip else "DISABLED"}

        if self.architecture:
            task["runtimePlatform"] = {"operatingSystemFamily": "LINUX", "cpuArchitecture": self.architecture}

        content: dict[str, Any] = {"type": "container", "platformCapabilities": [self.platform]}
        content |= {"timeout": {"attemptDurationSeconds": self._net()}} if self.time_limit else {}
        tags = {"tags": dict(self.tags)} if self.tags else {}
        properties = {"ecsProperties": {"taskProperties": [task]}}
        return {**content, **properties, "retryStrategy": {"attempts": 1}, "propagateTags": True, **tags}

    def _container(self) -> dict[str, Any]:
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": self.image,
            "essential": True,
            "command": [self.python, "-c", start_command()],
            "resourceRequirements": self.resources.requirements,
            "stopTimeout": self.stop_seconds,
        }

        if self.shared_memory is not None:
            container["linuxParameters"] = {"sharedMemorySize": self.shared_memory}

        if self.log_group is not None:
            options = {
                "awslogs-group": self.log_group,
                "awslogs-region": self.region,
                "awslogs-stream-prefix": CONTAINER,
            }
            container["logConfiguration"] = {"logDriver": "awslogs", "options": options}

        return container

    def _net(self) -> int:
        assert self.time_limit is not None
        return max(SHORTEST_LIMIT, math.ceil(self.time_limit) + self.stop_seconds + NET)


def stop_seconds(platform: str, grace: float) -> int:
    """Return how long after SIGTERM a container is to be killed, that a task has its grace period.

    Raises:
        ExecutorOptionError: The platform kills it earlier.
    """
    if platform == "FARGATE" and grace > FARGATE_STOP:
        raise ExecutorOptionError(
            f"grace is {grace:g} s, and Fargate ends a container {FARGATE_STOP} s after SIGTERM; "
            f"set grace={FARGATE_STOP} at most, or name a queue on EC2"
        )

    wanted = max(SHORTEST_STOP, math.ceil(grace) + DELIVERY)
    return min(FARGATE_STOP, wanted) if platform == "FARGATE" else wanted
