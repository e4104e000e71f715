"""One AWS for all tests of a process, a bucket for each, and a home for each that dispatches something."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws import Aws
from probes import Stops, ending

from covalent_core._client import spawn
from covalent_core.testing._warm import WarmDispatcher

pytest_plugins = ["budget"]


@pytest.fixture(scope="session")
def shared_aws() -> Iterator[Aws]:
    """Start an AWS, with a queue on Fargate and one on EC2, and the roles of jobs."""
    aws = Aws()

    try:
        aws.queue("fargate", "FARGATE")
        aws.queue("ec2", "EC2")
        aws.role("execution")
        aws.role("job")
        yield aws
    finally:
        aws.stop()


@pytest.fixture
def aws(shared_aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """Give a test the AWS, as boto3 finds it in any process; afterwards it is as it was."""
    for name, value in shared_aws.environment().items():
        monkeypatch.setenv(name, value)

    monkeypatch.delenv("AWS_PROFILE", raising=False)
    shared_aws.reset()
    yield shared_aws
    shared_aws.reset()


@pytest.fixture
def bucket(aws: Aws) -> str:
    """Make a bucket for a test."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    return name


@pytest.fixture
def options(aws: Aws, bucket: str) -> dict[str, Any]:
    """Return the options of an executor whose jobs have a role."""
    return {
        "s3_bucket_name": bucket,
        "batch_queue": "fargate",
        "batch_execution_role_name": "execution",
        "batch_job_role_name": "job",
        "container_image_uri": "python:3",
        "vcpu": 0.25,
        "memory": 0.5,
        "grace": 0.5,
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a store of its own, and so a dispatcher that it may kill."""
    folder = tmp_path / "store"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(spawn, "DetachedProcess", WarmDispatcher)

    with ending(folder):
        yield folder


@pytest.fixture
def stops(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found
