"""The suite that every executor must pass, with electrons that are hybrid jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aws.client import Account
from aws.faults import Fault
from probes import wait_until

from covalent_core.testing import ExecutorSuite
from covalent_core_braket import BraketExecutor


class TestHybridJobs(ExecutorSuite):
    """Containers are processes of this machine, which the endpoint starts as Amazon does: none is sent a signal."""

    patience = 60.0
    look_seconds = 3.0
    reports_results = True
    reports_output = True

    @pytest.fixture(autouse=True)
    def on(self, account: Account, hybrid: dict[str, Any]) -> None:
        self.account = account
        # To ask for the ARN of a role takes a client of another service.
        role = {"braket_job_execution_role_name": account.role_arn}
        self.options = {**hybrid, **role, "s3_prefix": account.access_key}

    def executor(self, folder: Path) -> Any:
        # The grace period also has to do for the way that an order goes.
        return BraketExecutor(**self.options, grace=1.0)

    def keeping_executor(self, folder: Path) -> Any:
        return BraketExecutor(**self.options, grace=1.0, cleanup=False)

    def alive(self, ticket: str, noted: list[str]) -> list[str]:
        if living := super().alive(ticket, noted):
            return living

        def containers() -> list[str]:
            mine = [job for job in self.account.jobs() if job["jobName"] == ticket]
            return [job["jobArn"] for job in mine if job["status"] == "RUNNING"]

        # A container ends some milliseconds after the runner in it, more where this machine is busy.
        with suppress(AssertionError):
            wait_until(lambda: not containers(), 10)

        return containers()

    def left(self, folder: Path) -> list[str]:
        wanted = {"Bucket": self.account.bucket, "Prefix": self.account.access_key}
        found = self.account.client("s3").list_objects_v2(**wanted).get("Contents", [])
        return [entry["Key"] for entry in found] + super().left(folder)

    @contextmanager
    def hide_from_listing(self, job_handle: str) -> Iterator[None]:
        self.account.turn(search_lag_seconds=1e6)
        yield
        self.account.turn(search_lag_seconds=0.0)

    @contextmanager
    def break_status(self, job_handle: str) -> Iterator[None]:
        faults = [Fault(operation, "ValidationException", times=10**6) for operation in ("SearchJobs", "GetJob")]
        self.account.fail(*faults)
        yield
        self.account.fail()
