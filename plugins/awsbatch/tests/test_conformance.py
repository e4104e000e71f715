"""The suite that every executor must pass, over HTTP, with jobs that have a role and with jobs that have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aws import Aws

from covalent_core.testing import ExecutorSuite, alive_in_any_namespace
from covalent_core_awsbatch import AWSBatchExecutor


class TestWithARole(ExecutorSuite):
    """The containers are processes of this machine, in namespaces of their own; the bucket is looked at besides."""

    look_seconds = 2.5
    reports_results = True
    reports_output = True
    tells_how_to_end = True

    @pytest.fixture(autouse=True)
    def on(self, aws: Aws, options: dict[str, Any]) -> None:
        self.aws = aws
        self.options = options

    def executor(self, folder: Path) -> Any:
        return AWSBatchExecutor(**self.options, poll_freq=1.0)

    def keeping_executor(self, folder: Path) -> Any:
        return AWSBatchExecutor(**self.options, poll_freq=1.0, cleanup=False)

    def alive(self, ticket: str, noted: list[str]) -> list[str]:
        return alive_in_any_namespace(ticket, noted)

    def left(self, folder: Path) -> list[str]:
        bucket = self.options["s3_bucket_name"]
        return [*self.aws.objects(bucket), *self.aws.uploads(bucket), *super().left(folder)]

    @contextmanager
    def hide_from_listing(self, job_handle: str) -> Iterator[None]:
        self.aws.turn(forgetful=1)
        yield
        self.aws.reset()

    @contextmanager
    def break_status(self, job_handle: str) -> Iterator[None]:
        self.aws.fault("DescribeJobs", "failed", status=400, times=None)
        yield
        self.aws.reset()


class TestWithoutARole(TestWithARole):
    """The jobs get their files by presigned links."""

    def executor(self, folder: Path) -> Any:
        return AWSBatchExecutor(**self._without_role(), poll_freq=1.0)

    def keeping_executor(self, folder: Path) -> Any:
        return AWSBatchExecutor(**self._without_role(), poll_freq=1.0, cleanup=False)

    def _without_role(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name != "batch_job_role_name"}
