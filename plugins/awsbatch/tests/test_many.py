"""Many jobs at once: how often AWS is asked, and what is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()


def shown(calls: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in sorted(calls.items()) if number}


@pytest.mark.long("many containers on this machine")
def test_many_jobs_are_one_array(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**options, poll_freq=5.0)
    began = time.monotonic()
    result = work.end(work.dispatch_many(executor, TASKS.quick, tmp_path, work.JOBS), 300)
    calls = aws.calls()
    print(f"{work.JOBS} jobs: {time.monotonic() - began:.0f} s, {shown(calls)}")
    looks = [moment for moment, operation, _ in aws.call_log() if operation == "DescribeJobs"]

    assert result.result == [str(number) for number in range(work.JOBS)]
    assert sorted(work.begun(tmp_path)) == sorted(str(number) for number in range(work.JOBS))
    assert calls["SubmitJob"] == 1
    assert calls["RegisterJobDefinition"] <= 1
    # Within the shortest pause between two looks there are no more than these.
    assert max((sum(first <= moment < first + 0.95 for moment in looks) for first in looks), default=0) <= 3
    assert aws.objects(executor.s3_bucket_name) == []


@pytest.mark.long("many cancels, each of which is an object in S3")
def test_many_jobs_are_cancelled_in_one_order(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    aws.turn(start_delay=600.0)
    executor = AWSBatchExecutor(**options, poll_freq=5.0)
    dispatch_id = work.dispatch_many(executor, TASKS.quick, tmp_path, work.JOBS)
    work.wait_until(lambda: aws.calls()["SubmitJob"], 200)
    work.wait_until(lambda: all(found["job_handle"] for found in work.electrons(ct.get_result(dispatch_id))))
    aws.clear_calls()
    began = time.monotonic()
    ct.cancel(dispatch_id)
    result = work.end(dispatch_id, 300)
    calls = aws.calls()
    print(f"{work.JOBS} cancels: {time.monotonic() - began:.0f} s, {shown(calls)}")

    assert result.status == Status.CANCELLED
    # A part may have gone before the rest was known of: in fifties then.
    assert calls["TerminateJob"] + calls["TerminateJobs"] <= 25
    assert calls["SubmitJob"] == 0
    assert work.begun(tmp_path) == []
    assert aws.objects(executor.s3_bucket_name) == []


def test_children_have_handles_and_places_of_their_own(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    executor = AWSBatchExecutor(**options, poll_freq=1.0)
    dispatch_id = work.dispatch_many(executor, TASKS.quick, tmp_path, 4)
    found = work.electrons(work.end(dispatch_id))
    parents, places = zip(*(node["job_handle"].split(":") for node in found), strict=True)

    assert len(set(parents)) == 1
    assert sorted(places) == ["0", "1", "2", "3"]
    (job,) = aws.client("batch").describe_jobs(jobs=[parents[0]])["jobs"]
    assert job["tags"]["covalent:dispatch_id"] == dispatch_id
    assert job["tags"]["covalent:lattice"] == "workflow"
    assert job["jobDefinition"].startswith("arn:")


def test_definitions_are_reused(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    # What other tests have registered does not count.
    executor = AWSBatchExecutor(**options, poll_freq=1.0, tags={"test": tmp_path.name})

    for name in ("first", "second"):
        assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), name)).result == name

    assert aws.calls()["RegisterJobDefinition"] == 1
