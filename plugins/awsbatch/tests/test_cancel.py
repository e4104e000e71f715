"""A cancel, wherever it meets a job, and whatever AWS makes of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws
from probes import kill_dispatcher
from test_once import jobs_of

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()


@pytest.fixture
def executor(options: dict[str, Any], home: Path) -> AWSBatchExecutor:
    return AWSBatchExecutor(**options, poll_freq=1.0)


def check_cancelled(aws: Aws, dispatch_id: str, executor: AWSBatchExecutor, seconds: float = 60.0) -> None:
    assert work.end(dispatch_id, seconds).status == Status.CANCELLED
    # The container of a job that must not begin may still come: it sees that, and ends.
    work.wait_until(lambda: aws.processes.by_job() == {})
    assert aws.objects(executor.s3_bucket_name) == []


#: What keeps a job in each of the states, by what is turned.
STATES = {
    "SUBMITTED": {"hidden_for": 30.0},
    "RUNNABLE": {"start_delay": 30.0},
    "STARTING": {"pull_delay": 30.0},
}


@pytest.mark.parametrize("state", STATES)
def test_a_job_that_has_not_begun_never_does(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, state: str) -> None:
    aws.turn(**STATES[state])
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path))
    work.wait_until(lambda: work.node(dispatch_id)["job_handle"])

    if state != "SUBMITTED":
        aws.wait(work.node(dispatch_id)["job_handle"], statuses=[state])

    began = time.monotonic()
    assert ct.cancel(dispatch_id)
    check_cancelled(aws, dispatch_id, executor)
    assert time.monotonic() - began < 20
    assert work.begun(tmp_path) == []


@pytest.mark.parametrize("spawn_delay", [0.0, 15.0])
def test_a_child_of_an_array_ends_and_its_siblings_go_on(
    aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, spawn_delay: float
) -> None:
    aws.turn(spawn_delay=spawn_delay)
    dispatch_id = work.dispatch_many(executor, TASKS.work, tmp_path, 4)
    result = ct.get_result(dispatch_id)
    first, *others = sorted(found["node_id"] for found in work.electrons(result))
    work.wait_until(lambda: work.node(dispatch_id, first)["job_handle"])

    if not spawn_delay:
        work.until_begun(tmp_path, 4)

    assert ct.cancel(dispatch_id, first)
    work.wait_until(lambda: work.node(dispatch_id, first)["status"] == Status.CANCELLED)
    (tmp_path / "go").touch()
    work.end(dispatch_id)
    statuses = {work.node(dispatch_id, node_id)["status"] for node_id in others}
    assert statuses == {Status.COMPLETED}
    assert ("0" in work.begun(tmp_path)) == (spawn_delay == 0)
    assert len(work.begun(tmp_path)) == (3 if spawn_delay else 4)


def test_a_job_that_stays_runnable_is_cancelled(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.turn(ended_stay_runnable=True)
    aws.hold("fargate", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - there is none")
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path))
    work.until_waiting(dispatch_id, "AWS has no such instances at the moment")
    assert ct.cancel(dispatch_id)
    check_cancelled(aws, dispatch_id, executor)
    aws.release("fargate")
    aws.wait(*[job["jobId"] for job in jobs_of(aws)])
    assert work.begun(tmp_path) == []


REASONS = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": "no such instances",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": "maxvCpus",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": "no instance type",
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": "service role",
    "UNDETERMINED - something": "does not know",
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_keeps_a_job_in_its_queue_is_told(
    aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, reason: str
) -> None:
    aws.hold("fargate", reason)
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path), "all")
    work.until_waiting(dispatch_id, REASONS[reason])
    assert work.node(dispatch_id)["status"] == Status.RUNNING
    aws.release("fargate")
    assert work.end(dispatch_id).result == "all"


def test_the_longest_wait_ends_a_job(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    aws.hold("fargate", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY")
    executor = AWSBatchExecutor(**options, longest_wait=2.0, poll_freq=0.5)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path)))

    assert "and longest_wait is 2: CAPACITY:" in result.get_node_result(0)["error"]
    aws.release("fargate")
    aws.wait(*[job["jobId"] for job in jobs_of(aws)])
    assert work.begun(tmp_path) == []


@pytest.mark.parametrize("image", ["entrypoint-deaf", "entrypoint-waits"])
def test_an_order_reaches_a_job_that_no_signal_reaches(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, image: str
) -> None:
    executor = AWSBatchExecutor(**options | {"container_image_uri": image}, poll_freq=1.0)
    dispatch_id = work.dispatch(executor, TASKS.beat, str(tmp_path))
    work.until_begun(tmp_path)
    assert ct.cancel(dispatch_id)
    check_cancelled(aws, dispatch_id, executor)


@pytest.mark.long("the processes of a job outlive it by twenty seconds")
def test_a_job_that_lives_on_is_not_cancelled_before_it_is_dead(
    aws: Aws, executor: AWSBatchExecutor, tmp_path: Path
) -> None:
    aws.turn(abandoned_for=20.0, stop_signal=False)
    # Nor does it see the order.
    aws.fault("GetObject", "refused", target="/orders", times=None)
    dispatch_id = work.dispatch(executor, TASKS.beat, str(tmp_path))
    work.until_begun(tmp_path)
    assert ct.cancel(dispatch_id)
    assert work.end(dispatch_id, 120).status == Status.CANCELLED
    assert time.time() - float((tmp_path / "alive").read_text() or 0) > 2
    assert aws.processes.by_job() == {}


def test_a_job_that_ends_before_the_order_acts(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.turn(termination_delay=5.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), "all")
    # Nor does it see the order by the other way.
    aws.fault("GetObject", "refused", target="/orders", times=None)
    work.until_begun(tmp_path)
    assert ct.cancel(dispatch_id)
    (tmp_path / "go").touch()
    # The first commit counts: that of the cancel.
    check_cancelled(aws, dispatch_id, executor)


def test_the_reason_is_ours_and_the_users(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path))
    work.until_begun(tmp_path)
    handle = work.node(dispatch_id)["job_handle"]
    assert ct.cancel(dispatch_id, reason="wrong " * 300)
    check_cancelled(aws, dispatch_id, executor)
    aws.wait(handle)
    (job,) = aws.client("batch").describe_jobs(jobs=[handle])["jobs"]

    assert job["statusReason"].startswith("ct-")
    assert "wrong wrong" in job["statusReason"]


@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.long("many jobs, five calls a second, and a dispatcher that is killed meanwhile")
def test_many_end_though_aws_takes_few_orders(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, bulk: bool
) -> None:
    count = work.JOBS if bulk else 40
    aws.turn(start_delay=300.0, bulk_errors=2, bulk_calls=bulk)
    aws.fault("Terminate*", "rate", per_second=5.0, times=None)
    executor = AWSBatchExecutor(**options, poll_freq=5.0)

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return ct.electron(TASKS.quick)(str(tmp_path), "0")

    dispatch_ids = [ct.dispatch(workflow)() for _ in range(count)]
    work.wait_until(lambda: aws.calls()["SubmitJob"] >= count, 120)

    for dispatch_id in dispatch_ids:
        ct.cancel(dispatch_id)

    work.wait_until(lambda: aws.calls()["TerminateJobs" if bulk else "TerminateJob"] > 3)
    kill_dispatcher(home)
    assert {work.end(dispatch_id, 200).status for dispatch_id in dispatch_ids} == {Status.CANCELLED}
    print(
        {name: number for name, number in aws.calls().items() if name.startswith(("Terminate", "Submit", "Describe"))}
    )
    assert work.begun(tmp_path) == []
    assert aws.calls()["SubmitJob"] == count
    aws.wait(*[job["jobId"] for job in jobs_of(aws)], timeout=60)
    assert aws.objects(executor.s3_bucket_name) == []
