"""What a test has in its hands: the endpoint as a process, and an account there of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3

from .door import BUCKET, ROLE
from .faults import Fault

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Account:
    """An account that nobody else uses.

    Attributes:
        braket: The address of Braket's API; that of all other services is `aws`.
        bucket: A bucket in us-east-1.
        role: The name of a role for jobs, and `role_arn` its ARN.
    """

    braket: str
    aws: str
    region: str = "us-east-1"
    access_key: str = field(default_factory=lambda: f"AKIA{uuid.uuid4().hex[:16].upper()}")
    bucket: str = BUCKET
    role: str = ROLE

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::123456789012:role/service-role/{self.role}"

    @property
    def image(self) -> str:
        """An image that a job may name; none is ever pulled."""
        return f"292282985366.dkr.ecr.{self.region}.amazonaws.com/amazon-braket-base-jobs:latest"

    @property
    def environment(self) -> dict[str, str]:
        """What leads every client of this account here."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.aws,
            "AWS_ENDPOINT_URL_BRAKET": self.braket,
            "BRAKET_PRICE_OFFERS_URL": self.prices,
        }

    @property
    def prices(self) -> str:
        """The address of the price list."""
        return f"{self.braket}/prices/{self.access_key}"

    def client(self, service: str, **options: Any) -> Any:
        """Return a client of boto3."""
        return boto3.client(
            service,
            region_name=options.pop("region", self.region),
            aws_access_key_id=self.access_key,
            aws_secret_access_key="none",
            endpoint_url=self.braket if service == "braket" else self.aws,
            **options,
        )

    def turn(self, **knobs: Any) -> None:
        """Turn knobs: see `aws.account.Knobs`."""
        self._knock("knobs", knobs)

    def fail(self, *faults: Fault) -> None:
        """Say what is to go wrong from now on; what was said before no longer is."""
        self._knock("faults", [asdict(fault) for fault in faults])

    def set_device(self, arn: str, **fields: Any) -> None:
        """Change a device, as this account sees it: see `aws.devices.Device`."""
        self._knock("device", {"arn": arn, "fields": fields})

    def clear(self) -> None:
        """Cancel all that is there, and wait until no container runs."""
        self._knock("clear")

        while any(job["container"] for job in self.jobs()):
            time.sleep(0.02)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the truth about all jobs; with it, the process id of the container that runs, or None."""
        return list(self._knock("state")["jobs"])

    def tasks(self, *statuses: str) -> list[dict[str, Any]]:
        """Return the truth about all quantum tasks, or those with one of these statuses."""
        return [task for task in self._knock("state")["tasks"] if not statuses or task["status"] in statuses]

    def calls(self) -> dict[str, int]:
        """Return how often each operation was called."""
        return dict(self._knock("state")["calls"])

    def refusals(self) -> list[dict[str, str]]:
        """Return what was refused, with a ``detail`` that AWS keeps for itself."""
        return list(self._knock("state")["refusals"])

    def mistakes(self) -> list[str]:
        """Return what this endpoint has done wrong itself."""
        return list(self._knock("state")["mistakes"])

    def keys(self, prefix: str = "") -> list[str]:
        """Return the names of all objects in the bucket that begin so."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def processes(self, job_arn: str | None = None) -> list[int]:
        """Return all processes of containers of this account, or of one job, as /proc has them."""
        marks = {job["jobArn"] for job in self.jobs()} if job_arn is None else {job_arn}
        wanted = {f"AMZN_BRAKET_JOB_ARN={mark}".encode() for mark in marks}
        return [pid for pid in _all_processes() if wanted & set(_environment_of(pid))]

    def _knock(self, what: str, said: Any = None) -> dict[str, Any]:
        body = None if said is None else json.dumps(said).encode()

        try:
            with urllib.request.urlopen(f"{self.braket}/test/{self.access_key}/{what}", body, timeout=30) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(f"the endpoint does not take {what} {said}: {error.read().decode()}") from None


@dataclass(frozen=True)
class Endpoint:
    """The endpoint, as it has said where it is."""

    braket: str
    aws: str

    def account(self, region: str = "us-east-1") -> Account:
        """Return an account that nobody has used."""
        return Account(self.braket, self.aws, region)


@contextmanager
def running_endpoint() -> Iterator[Endpoint]:
    """Start the endpoint, and end it with all that runs in it.

    Raises:
        AssertionError: It has not started.
    """
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", HERE.name]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        where = process.stdout.readline()
        assert where, f"the endpoint has not started: exit code {process.wait()}"

        try:
            yield Endpoint(**json.loads(where))
        finally:
            process.stdin.close()


def _all_processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
