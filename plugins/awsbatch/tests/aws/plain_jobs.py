"""Jobs as somebody makes them who has nothing but boto3."""

from __future__ import annotations

import itertools
import sys
from typing import Any

from .batch.logs import DEFAULT_GROUP
from .client import Aws

_NUMBERS = itertools.count()
FARGATE_SIZE = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
EC2_SIZE = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]


def python(code: str) -> list[str]:
    """Return the command that runs this."""
    return ["python3", "-c", code]


class PlainJobs:
    """Submits commands to one queue, with definitions in ``ecsProperties`` unless told otherwise."""

    def __init__(self, aws: Aws, queue: str, role: str, fargate: bool = True) -> None:
        self.aws = aws
        self.batch = aws.client("batch")
        self.queue = queue
        self.role = role
        self.fargate = fargate

    def define(
        self,
        command: list[str],
        image: str = f"python:{sys.version_info.major}",
        *,
        container: bool = False,
        task: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        """Register a definition; return the ARN of its revision.

        Args:
            container: With ``containerProperties``.
            task: More of the task; of the container, where there is no task.
            more: More of the definition.
            settings: More of the container.
        """
        size = FARGATE_SIZE if self.fargate else EC2_SIZE
        main = {"image": image, "command": command, "resourceRequirements": size, **settings}
        roles = {"executionRoleArn": self.role} if self.fargate else {}
        rest = {**roles, **(task or {})}
        properties: dict[str, Any] = (
            {"containerProperties": {**main, **rest}}
            if container
            else {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", **main}], **rest}]}}
        )
        made = self.batch.register_job_definition(
            jobDefinitionName=f"d{next(_NUMBERS)}",
            type="container",
            platformCapabilities=["FARGATE" if self.fargate else "EC2"],
            **properties,
            **(more or {}),
        )
        return str(made["jobDefinitionArn"])

    def submit(self, definition: str, name: str = "job", **request: Any) -> str:
        """Submit it; return the job's id."""
        given = {"jobName": name, "jobQueue": self.queue, "jobDefinition": definition, **request}
        return str(self.batch.submit_job(**given)["jobId"])

    def run(self, command: list[str], image: str = "python:3", name: str = "job", **settings: Any) -> str:
        """Submit this command with a definition of its own; return the job's id."""
        return self.submit(self.define(command, image, **settings), name)

    def describe(self, job: str) -> dict[str, Any]:
        """Return what DescribeJobs says of it."""
        described: dict[str, Any] = self.batch.describe_jobs(jobs=[job])["jobs"][0]
        return described

    def ended(self, job: str) -> dict[str, Any]:
        """Wait for the end of a job; return what DescribeJobs says of it then."""
        self.aws.wait(job)
        return self.describe(job)

    def output(self, described: dict[str, Any]) -> list[str]:
        """Return the lines that the log stream has to which DescribeJobs points."""
        events = self.aws.client("logs").get_log_events(
            logGroupName=DEFAULT_GROUP, logStreamName=container_of(described)["logStreamName"], startFromHead=True
        )
        return [event["message"] for event in events["events"]]

    def listed(self, **request: Any) -> list[str]:
        """Return the ids that ListJobs answers."""
        return [job["jobId"] for job in self.batch.list_jobs(**request)["jobSummaryList"]]


def container_of(described: dict[str, Any]) -> dict[str, Any]:
    """Return the container of what DescribeJobs says, wherever it is."""
    if "ecsProperties" not in described:
        return dict(described["container"])

    return dict(described["ecsProperties"]["taskProperties"][0]["containers"][0])
