"""What goes wrong between here, AWS and the job: it is gone around, or said in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws
from probes import kill_dispatcher

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()


@pytest.fixture
def executor(options: dict[str, Any], home: Path) -> AWSBatchExecutor:
    return AWSBatchExecutor(**options, poll_freq=1.0)


FAULTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an upload of the job is cut": ("PutObject", "cut_upload", {"target": "results/", "times": 2}),
    "an answer to the job is cut": ("GetObject", "cut_answer", {"target": "/start", "times": 2}),
    "the job is to be slower": ("PutObject", "refused", {"target": "results/", "times": 2}),
    "S3 has failed": ("PutObject", "failed", {"times": 2}),
    "S3 throttles": ("*", "refused", {"target": "covalent-core", "chance": 0.1, "times": 20}),
    "Batch throttles": ("Describe*", "refused", {"times": 4}),
    "answers are slow": ("*", "slow", {"seconds": 0.3, "times": 20}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_gone_around(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, fault: str) -> None:
    operation, kind, settings = FAULTS[fault]
    aws.fault(operation, kind, **settings)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "all", retries=0))

    assert result.result == "all", result.error
    assert work.begun(tmp_path) == ["all"]
    aws.clear_faults()
    work.wait_until(lambda: aws.objects(executor.s3_bucket_name) == [])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "there is no such queue": ({"batch_queue": "nowhere"}, "there is no job queue 'nowhere' in eu-central-1"),
    "there is no such bucket": ({"s3_bucket_name": "nowhere"}, "NoSuchBucket.*create the bucket"),
    "Fargate needs a role": ({"batch_execution_role_name": None}, "set batch_execution_role_name"),
    "a queue without shares": ({"share_identifier": "physics"}, "leave out share_identifier"),
    "another platform": ({"platform": "EC2"}, "is on FARGATE"),
    "too long a grace": ({"grace": 200.0}, "120 s after SIGTERM"),
    "too much memory": ({"memory": 500.0}, "the nearest are"),
    "no such role": ({"batch_job_role_name": "nobody"}, "look at the trust policy of the role"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_one_sentence(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, case: str
) -> None:
    changed, words = REFUSED[case]
    executor = AWSBatchExecutor(**options | changed, poll_freq=1.0)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), retries=0))

    assert result.status == Status.FAILED
    assert re.search(words, result.get_node_result(0)["error"])
    assert aws.objects(options["s3_bucket_name"]) == []


@pytest.mark.parametrize("kind", ["EKS", "fair share"])
def test_a_queue_of_another_kind(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, kind: str) -> None:
    name = f"queue-{tmp_path.name[-20:]}".replace("[", "").replace("]", "")
    aws.queue(name, "EKS" if kind == "EKS" else "FARGATE", fair_share=kind != "EKS")
    executor = AWSBatchExecutor(**options | {"batch_queue": name}, poll_freq=1.0)
    error = str(work.end(work.dispatch(executor, TASKS.quick, str(tmp_path))).error)

    assert ("one of EKS" if kind == "EKS" else "set share_identifier") in error

    if kind != "EKS":
        shares = AWSBatchExecutor(**options | {"batch_queue": name}, share_identifier="physics", scheduling_priority=7)
        assert work.end(work.dispatch(shares, TASKS.quick, str(tmp_path), "all")).result == "all"


def test_a_queue_on_ec2_takes_jobs(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**options | {"batch_queue": "ec2"}, shared_memory=128, poll_freq=1.0)
    assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "all")).result == "all"


def test_a_denial_says_what_to_allow(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    said = {"code": "AccessDeniedException", "message": "User: x is not authorized to perform: batch:SubmitJob"}
    aws.fault("SubmitJob", "refused", status=403, times=None, **said)
    error = str(work.end(work.dispatch(executor, TASKS.quick, str(tmp_path))).error)

    assert "AWS answered to SubmitJob" in error
    assert "not authorized to perform: batch:SubmitJob" in error
    assert "allow it in the IAM policy" in error
    assert aws.reached()["SubmitJob"] == 0
    assert aws.objects(executor.s3_bucket_name) == []


def test_expired_credentials_are_waited_for(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    aws.fault("DescribeJobQueues", "refused", status=403, code="ExpiredTokenException", message="expired", times=None)
    dispatch_id = work.dispatch(executor, TASKS.quick, str(tmp_path))
    work.until_waiting(dispatch_id, "aws sso login")
    assert ct.cancel(dispatch_id)

    assert work.end(dispatch_id).status == Status.CANCELLED


def test_what_a_killed_upload_leaves_is_removed(
    aws: Aws, executor: AWSBatchExecutor, home: Path, tmp_path: Path
) -> None:
    aws.fault("UploadPart", "slow", seconds=3, times=None)
    dispatch_id = work.dispatch(executor, lambda content: len(content), b"x" * (24 << 20))
    work.wait_until(lambda: aws.calls()["UploadPart"])
    kill_dispatcher(home)
    assert aws.uploads(executor.s3_bucket_name) != []
    aws.clear_faults()

    assert work.end(dispatch_id).result == 24 << 20
    assert aws.uploads(executor.s3_bucket_name) == []
    assert aws.objects(executor.s3_bucket_name) == []
