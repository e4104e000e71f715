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
from covalent_core.testing._bench import Bench
from covalent_core.testing._matrix import CELLS, Cell
from covalent_core_braket import BraketExecutor


class TestHybridJobs(ExecutorSuite):
    """Containers are processes of this machine, which the endpoint starts as Amazon does: none is sent a signal."""

    look_seconds = 3.0
    reports_results = True
    reports_output = True
    tells_how_to_end = True

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


class TestSimulations(ExecutorSuite):
    """Of circuits on this machine: all that is about cancels. Tasks that come to their end would return no circuit."""

    def executor(self, folder: Path) -> Any:
        return BraketExecutor(workdir=str(folder), grace=0.5)

    def reused_handle(self, old: str, new: str) -> str:
        return new.split(".")[0] + "." + old.split(".", 1)[1]

    @pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.event != "killed"], ids=str)
    def test_matrix(self, bench: Bench, cell: Cell) -> None:
        super().test_matrix(bench, cell)


ABOUT_CANCELS = (
    "test_matrix",
    "test_nothing_of_it_is_alive_when_a_node_is_cancelled",
    "test_a_task_that_ignores_sigterm_is_killed",
    "test_a_task_that_asks_can_clean_up",
    "test_it_is_cancelling_until_the_backend_has_confirmed",
    "test_a_cancel_is_given_the_handle_that_provision_gave",
    "test_a_job_that_is_not_found_after_a_cancel_never_starts",
    "test_a_job_whose_id_was_lost_is_cancelled",
    "test_a_job_whose_id_was_lost_with_the_dispatcher_is_cancelled",
    "test_a_late_answer_of_provision_is_waited_for_and_then_cancelled",
    "test_an_ending_that_is_made_twice_is_made",
    "test_a_lost_answer_of_cancel_is_asked_for_again",
    "test_the_attempts_to_cancel_go_on_after_a_crash",
    "test_a_pack_of_which_all_members_are_cancelled_is_ended",
    "test_the_store_brings_the_executor_back_as_it_was",
)

for name in dir(ExecutorSuite):
    if name.startswith("test_") and name not in ABOUT_CANCELS:
        setattr(TestSimulations, name, None)
