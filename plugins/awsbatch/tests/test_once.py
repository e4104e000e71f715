"""A job runs once, whatever becomes of the answers of AWS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()


@pytest.fixture
def executor(options: dict[str, Any], home: Path) -> AWSBatchExecutor:
    return AWSBatchExecutor(**options, poll_freq=1.0)


def jobs_of(aws: Aws, queue: str = "fargate") -> list[dict[str, Any]]:
    """Return what the queue has, whatever its state."""
    filters = [{"name": "JOB_NAME", "values": ["ct-*"]}]
    pages = aws.client("batch").get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters)
    return [job for page in pages for job in page["jobSummaryList"]]


LOST = {
    "answered with 500": ("failed", {"status": 500}),
    "answered with 502": ("failed", {"status": 502}),
    "answered with 504": ("failed", {"status": 504}),
    "closed": ("lost", {}),
}


@pytest.mark.parametrize("way", LOST)
def test_a_submission_whose_answer_is_lost_is_found(
    aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, way: str
) -> None:
    kind, settings = LOST[way]
    aws.fault("SubmitJob", kind, times=1, **settings)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "all"))

    assert result.result == "all"
    assert aws.calls()["SubmitJob"] == 1
    assert work.begun(tmp_path) == ["all"]


def test_a_submission_that_is_not_answered_in_time_is_found(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    aws.fault("SubmitJob", "slow", seconds=4, times=1)
    executor = AWSBatchExecutor(**options, answer_seconds=1.0, poll_freq=1.0)

    assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "all")).result == "all"
    assert aws.calls()["SubmitJob"] == 1
    assert work.begun(tmp_path) == ["all"]


def test_an_array_whose_answer_is_lost_is_found(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.fault("SubmitJob", "failed", status=500, times=1)
    result = work.end(work.dispatch_many(executor, TASKS.quick, tmp_path, 5))

    assert result.result == ["0", "1", "2", "3", "4"]
    assert aws.calls()["SubmitJob"] == 1
    assert sorted(work.begun(tmp_path)) == ["0", "1", "2", "3", "4"]
    assert aws.objects(executor.s3_bucket_name) == []


@pytest.mark.long("many jobs are submitted and cancelled one by one")
def test_many_lost_answers_under_cancels(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    for kind, settings in LOST.values():
        aws.fault("SubmitJob", kind, times=50, **settings)

    # Jobs of different dispatches are in no array.
    dispatch_ids = [work.dispatch(executor, TASKS.work, str(tmp_path), str(number)) for number in range(work.JOBS)]
    work.until_begun(tmp_path, 20, 120)

    for dispatch_id in dispatch_ids:
        ct.cancel(dispatch_id)

    ends = [work.end(dispatch_id, 240).status for dispatch_id in dispatch_ids]

    assert set(ends) == {Status.CANCELLED}
    assert aws.reached()["SubmitJob"] <= work.JOBS
    aws.wait(*[job["jobId"] for job in jobs_of(aws)], timeout=60)
    assert aws.processes.by_job() == {}
    assert aws.objects(executor.s3_bucket_name) == []
    assert len(work.begun(tmp_path)) <= work.JOBS


@pytest.mark.parametrize("cancelled", [True, False])
@pytest.mark.long("a request is on its way for longer than anybody waits for it")
def test_a_request_that_arrives_late_starts_nothing_twice(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, cancelled: bool
) -> None:
    seconds = 8 if cancelled else 75
    aws.fault("SubmitJob", "late", seconds=seconds, times=1)
    executor = AWSBatchExecutor(**options, answer_seconds=1.0, poll_freq=1.0)
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path), "all", retries=1, retry_delay=0.1)
    work.until_waiting(dispatch_id, "it is not known whether the backend has taken the job")

    if cancelled:
        assert ct.cancel(dispatch_id)
        assert work.end(dispatch_id).status == Status.CANCELLED
    else:
        assert work.end(dispatch_id, 120).result == "all"

    work.wait_until(lambda: len(jobs_of(aws)) == (1 if cancelled else 2), 120)
    aws.wait(*[job["jobId"] for job in jobs_of(aws)], timeout=60)
    assert work.begun(tmp_path) == ([] if cancelled else ["all"])
    assert aws.objects(executor.s3_bucket_name) == []


def test_a_throttled_submission_is_made_later(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.fault("SubmitJob", "refused", times=1)
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path), "all")
    work.until_waiting(dispatch_id, "the backend takes no further job")

    assert work.end(dispatch_id).result == "all"
    assert aws.reached()["SubmitJob"] == 1


def test_a_new_job_that_is_hidden_is_waited_for(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.turn(hidden_for=6.0, forgetful=2)
    aws.fault("SubmitJob", "lost", times=1)
    result = work.end(work.dispatch_many(executor, TASKS.quick, tmp_path, 3))

    assert result.result == ["0", "1", "2"]
    assert aws.calls()["SubmitJob"] == 1


def test_a_job_that_aws_has_forgotten_keeps_its_result(
    aws: Aws, executor: AWSBatchExecutor, home: Path, tmp_path: Path
) -> None:
    from probes import kill_dispatcher

    aws.turn(remembered_for=0.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), "all")
    work.until_begun(tmp_path)
    kill_dispatcher(home)
    (tmp_path / "go").touch()
    work.wait_until(lambda: not aws.processes.by_job())

    assert work.end(dispatch_id).result == "all"
