"""The endpoint as a test has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from .processes import Processes

ENDED = ("SUCCEEDED", "FAILED")
_TESTS = Path(__file__).parent.parent
# What this process is told of AWS, which is nothing that the endpoint or its jobs may know of.
_FOREIGN = ("AWS_", "MOTO_", "PYTHONSTARTUP")


class Aws:
    """A running endpoint.

    Attributes:
        url: Where it is: ``AWS_ENDPOINT_URL``.
        access_key: Of its user, who may do everything.
        secret_key: Likewise.
        pid: The process.
        processes: What there is of the jobs on this machine.
    """

    def __init__(self, region: str = "eu-central-1") -> None:
        self.region = region
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aws"], cwd=_TESTS, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        announced = self._process.stdout.readline().split()

        if len(announced) != 3:
            raise RuntimeError(f"the endpoint did not start: exit code {self._process.wait()}; what it wrote is above")

        self.url, self.access_key, self.secret_key = announced
        self.pid = self._process.pid
        self.processes = Processes(self.url)
        self._session = self.session()
        self._clients: dict[str, Any] = {}

    def stop(self) -> None:
        """End it, and every job with it.

        Raises:
            RuntimeError: Something in the endpoint itself went wrong while it ran.
        """
        broken: list[str] = self._ask("broken")
        self.kill()

        if broken:
            raise RuntimeError(f"the endpoint broke: {broken}")

    def kill(self) -> None:
        """End it without a question."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

        for client in self._clients.values():
            client.close()

    # What a client of AWS has

    def environment(self) -> dict[str, str]:
        """Return the variables with which boto3, in any process, talks to this endpoint as its user."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def session(self) -> boto3.Session:
        """Return a session of its user; give ``endpoint_url=aws.url`` to the clients that it makes."""
        return boto3.Session(self.access_key, self.secret_key, region_name=self.region)

    def client(self, service: str, **config: Any) -> Any:
        """Return a client that sends everything once only, unless ``config`` says otherwise."""
        if not config and service in self._clients:
            return self._clients[service]

        once = {"retries": {"total_max_attempts": 1}, "read_timeout": 30, **config}
        made = self._session.client(service, endpoint_url=self.url, config=botocore.config.Config(**once))
        return made if config else self._clients.setdefault(service, made)

    def credentials(self, seconds: float) -> dict[str, Any]:
        """Return temporary credentials that die after this time: access_key, secret_key, token, expires."""
        issued: dict[str, Any] = self._ask("issue", seconds=seconds)
        return issued

    def revoke(self, access_key: str) -> None:
        """Make a key invalid."""
        self._ask("revoke", access_key=access_key)

    def queue(self, name: str, kind: str = "FARGATE", fair_share: bool = False, vcpus: int = 256) -> str:
        """Make a queue with a compute environment of its own; return its ARN.

        Args:
            kind: EC2, SPOT, FARGATE, FARGATE_SPOT, ECS_MANAGED_INSTANCES or EKS.
            vcpus: How many are there; jobs beyond that wait in RUNNABLE.
        """
        batch = self.client("batch")
        resources = {"type": "EC2" if kind == "EKS" else kind, "maxvCpus": vcpus, "subnets": ["subnet-1"]}
        eks = {"eksClusterArn": "arn:aws:eks:eu-central-1:123456789012:cluster/c", "kubernetesNamespace": "n"}
        given = {"eksConfiguration": eks} if kind == "EKS" else {}
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", computeResources=resources, **given
        )
        order = [{"order": 1, "computeEnvironment": name}]
        policy = {"schedulingPolicyArn": batch.create_scheduling_policy(name=name)["arn"]} if fair_share else {}
        made = batch.create_job_queue(jobQueueName=name, priority=1, computeEnvironmentOrder=order, **policy)
        return str(made["jobQueueArn"])

    def role(self, name: str) -> str:
        """Make a role; return its ARN."""
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        return str(made["Role"]["Arn"])

    # What goes wrong

    def turn(self, **knobs: Any) -> None:
        """Turn knobs; see ``knobs.py``."""
        self._ask("turn", **knobs)

    def reset(self) -> None:
        """End and forget all jobs, turn all knobs back, let no fault happen any more, and count calls from 0.

        Queues, definitions, roles and all that is in S3 stay.
        """
        self._ask("reset")

    def fault(self, operation: str, kind: str, **settings: Any) -> None:
        """Let something go wrong on the way; see ``faults.Fault``."""
        self._ask("fault", operation=operation, kind=kind, **settings)

    def clear_faults(self) -> list[dict[str, Any]]:
        """Let no fault happen any more; return those that were there, with their ``hits``."""
        cleared: list[dict[str, Any]] = self._ask("clear_faults")
        return cleared

    def hold(self, queue: str, reason: str | None = None) -> None:
        """Let the jobs of a queue stay RUNNABLE; the first of them says this as its statusReason."""
        self._ask("hold", queue=queue, reason=reason, region=self.region)

    def release(self, queue: str) -> None:
        """Let the jobs of a queue start again."""
        self._ask("release", queue=queue, region=self.region)

    def set_environment(self, name: str, status: str, reason: str = "") -> None:
        """Make a compute environment VALID or INVALID, with this statusReason."""
        self._ask("environment", name=name, status=status, reason=reason, region=self.region)

    def plan(self, way: str, jobs: str = "*", after: float = 0.0, times: int | None = 1) -> None:
        """Let attempts to come end in a way of ``batch/ends.py``; see ``Plan`` there."""
        self._ask("plan", way=way, jobs=jobs, after=after, times=times, region=self.region)

    def end(self, job: str, way: str) -> None:
        """Let a RUNNING job end in a way of ``batch/ends.py``."""
        self._ask("end", job=job, way=way, region=self.region)

    # What can be seen

    def wait(self, *jobs: str, statuses: Iterable[str] = ENDED, timeout: float = 30.0) -> None:
        """Return when all of these jobs have one of these statuses.

        Raises:
            RuntimeError: That took too long; the text says what they have.
        """
        self._ask("wait", jobs=jobs, statuses=list(statuses), timeout=timeout, region=self.region)

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs as DescribeJobs would, children too, whatever the knobs keep from its clients."""
        jobs: list[dict[str, Any]] = self._ask("jobs", region=self.region)
        return jobs

    def objects(self, bucket: str) -> list[str]:
        """Return the keys of all objects."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def uploads(self, bucket: str) -> list[str]:
        """Return the keys of all multipart uploads that are neither complete nor aborted."""
        return [entry["Key"] for entry in self.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    def definitions(self, status: str = "ACTIVE") -> list[str]:
        """Return the ARNs of all job definitions of this status."""
        pages = self.client("batch").get_paginator("describe_job_definitions").paginate(status=status)
        return [entry["jobDefinitionArn"] for page in pages for entry in page["jobDefinitions"]]

    def calls(self) -> Counter[str]:
        """Return how many requests came, by the name of the operation."""
        return Counter(self._ask("calls")["received"])

    def reached(self) -> Counter[str]:
        """Return how many requests reached the service: those that faults have not kept from it."""
        return Counter(self._ask("calls")["reached"])

    def call_log(self) -> list[tuple[float, str, int]]:
        """Return when (seconds since 1970) which operation was answered with which HTTP status."""
        return [(moment, operation, status) for moment, operation, status in self._ask("calls")["log"]]

    def clear_calls(self) -> None:
        """Count calls from 0."""
        self._ask("clear_calls")

    def _ask(self, command: str, **settings: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/_aws/{command}", json.dumps(settings).encode(), method="POST")

        try:
            with _OPENER.open(request, timeout=120) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{command}: {error.read().decode()}") from None


# Whatever proxies the environment names: the endpoint is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
