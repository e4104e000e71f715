"""What goes wrong on the way to the endpoint goes wrong as on the way to AWS, and its end is that of its jobs."""

from __future__ import annotations

import io
import os
import random
import signal
from typing import Any

import pytest
from aws import Aws
from aws.answers import Answer
from aws.edge import Edge
from aws.expectations import code_of, wait_for
from aws.plain_jobs import PlainJobs, python
from aws.request import Request
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


@pytest.mark.parametrize(
    ("kind", "expected", "done"),
    [
        ("refused", ("TooManyRequestsException", 429), False),
        ("failed", ("ServerException", 500), True),
        ("lost", ConnectionClosedError, True),
        ("unreached", ConnectionClosedError, False),
        ("cut_upload", ConnectionClosedError, False),
    ],
)
def test_a_submission_that_goes_wrong(aws: Aws, jobs: PlainJobs, kind: str, expected: Any, done: bool) -> None:
    definition = jobs.define(python("pass"))
    aws.fault("SubmitJob", kind, times=1)

    if isinstance(expected, tuple):
        assert code_of(jobs.submit, definition=definition) == expected
    else:
        with pytest.raises(expected):
            jobs.submit(definition)

    assert (aws.calls()["SubmitJob"], aws.reached()["SubmitJob"]) == (1, int(done))
    assert jobs.submit(definition)
    assert [fault["hits"] for fault in aws.clear_faults()] == [1]


def test_boto3_takes_a_cut_answer_for_a_whole_one(aws: Aws, jobs: PlainJobs) -> None:
    request = {"jobName": "j", "jobQueue": "fargate", "jobDefinition": jobs.define(python("pass"))}
    aws.fault("SubmitJob", "cut_answer", times=1)

    answer = jobs.batch.submit_job(**request)

    assert "jobId" not in answer
    assert aws.reached()["SubmitJob"] == 1


def test_answers_that_are_slow_and_requests_that_are_late(aws: Aws, jobs: PlainJobs) -> None:
    hasty = aws.client("batch", read_timeout=0.2)
    request = {"jobName": "j", "jobQueue": "fargate", "jobDefinition": jobs.define(python("pass"))}
    aws.fault("SubmitJob", "slow", seconds=60, times=1)
    aws.fault("SubmitJob", "late", seconds=60, times=1)

    with pytest.raises(ReadTimeoutError):
        hasty.submit_job(**request)
    wait_for(lambda: aws.reached()["SubmitJob"] == 1)

    with pytest.raises(ReadTimeoutError):
        hasty.submit_job(**request)
    assert aws.reached()["SubmitJob"] == 1
    aws.clear_faults()
    wait_for(lambda: aws.reached()["SubmitJob"] == 2)


def test_boto3_sends_a_submission_twice_by_itself(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(python("pass"))
    aws.fault("SubmitJob", "failed", status=502, times=1)
    jobs.batch = aws.client("batch", retries={"mode": "standard", "total_max_attempts": 3})

    jobs.submit(definition)

    assert aws.reached()["SubmitJob"] == 2


def test_a_fault_is_for_what_it_names(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    aws.fault("PutObject", "refused", target="/outcome", skip=1)
    aws.fault("GetObject", "cut_answer")

    s3.put_object(Bucket=bucket, Key="other", Body=b"x" * 1000)
    s3.put_object(Bucket=bucket, Key="outcome", Body=b"x")
    assert code_of(s3.put_object, Bucket=bucket, Key="outcome", Body=b"x") == ("SlowDown", 503)
    cut = s3.get_object(Bucket=bucket, Key="other")["Body"]
    with pytest.raises(ResponseStreamingError):
        cut.read()
    assert aws.objects(bucket) == ["other", "outcome"]


def test_an_upload_that_is_cut_leaves_its_parts(aws: Aws, bucket: str) -> None:
    s3 = aws.client("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    part = {"Bucket": bucket, "Key": "large", "UploadId": upload}
    s3.upload_part(**part, PartNumber=1, Body=b"x" * 1024)
    aws.fault("UploadPart", "cut_upload")

    with pytest.raises(HTTPClientError):
        s3.upload_part(**part, PartNumber=2, Body=b"x" * 1024)

    assert (aws.objects(bucket), aws.uploads(bucket)) == ([], ["large"])
    s3.abort_multipart_upload(**part)
    assert aws.uploads(bucket) == []


def test_no_more_than_the_rate(aws: Aws) -> None:
    batch = aws.client("batch")
    aws.fault("Describe*", "rate", per_second=3)
    answers = []

    for _ in range(8):
        try:
            answers.append(batch.describe_job_queues()["ResponseMetadata"]["HTTPStatusCode"])
        except ClientError as error:
            answers.append(error.response["ResponseMetadata"]["HTTPStatusCode"])

    assert answers[:3] == [200, 200, 200]
    assert 429 in answers
    wait_for(lambda: batch.describe_job_queues(), ClientError)


def test_chance_is_the_same_by_the_same_seed(aws: Aws) -> None:
    batch = aws.client("batch")
    drawn = random.Random(7)
    expected = [drawn.random() < 0.5 for _ in range(10)]
    aws.fault("DescribeJobQueues", "refused", chance=0.5, seed=7)

    for hit in expected:
        if hit:
            assert code_of(batch.describe_job_queues)[1] == 429
        else:
            batch.describe_job_queues()

    assert [(operation, status) for _, operation, status in aws.call_log()] == [("DescribeJobQueues", 200)] * (
        10 - sum(expected)
    )


def test_the_end_of_the_endpoint_is_that_of_its_jobs() -> None:
    aws = Aws()
    aws.queue("fargate")
    aws.role("execution")
    jobs = PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")
    job = jobs.run(python("import time; time.sleep(600)"))
    aws.wait(job, statuses=["RUNNING"])
    wait_for(lambda: aws.processes.of(job))

    os.kill(aws.pid, signal.SIGKILL)

    wait_for(lambda: not aws.processes.of(job))
    aws.kill()


def test_knobs_and_commands_that_there_are_not(aws: Aws) -> None:
    with pytest.raises(RuntimeError, match="there is no knob 'nonsense'"):
        aws.turn(nonsense=1)
    with pytest.raises(RuntimeError, match="there is no command"):
        aws._ask("nonsense")
    with pytest.raises(RuntimeError, match="there is no end 'nonsense'"):
        aws.plan("nonsense")
    with pytest.raises(RuntimeError, match="there is no fault 'nonsense'"):
        aws.fault("SubmitJob", "nonsense")


def test_what_breaks_in_the_endpoint_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(request: Request) -> Answer:
        raise RuntimeError("a defect")

    edge = Edge(breaks, breaks, lambda environ, body: breaks(Request.of(environ)), lambda request: None)
    environ = {"REQUEST_METHOD": "GET", "RAW_URI": "/bucket/key", "wsgi.input": io.BytesIO()}
    begun: list[str] = []

    edge(environ, lambda status, headers: begun.append(status))

    assert (begun, edge.broken) == (["500 -"], ["GetObject: RuntimeError('a defect')"])
    assert "a defect" in capsys.readouterr().err


def test_three_hundred_jobs_at_once(aws: Aws, jobs: PlainJobs) -> None:
    parent = jobs.submit(jobs.define(["true"]), arrayProperties={"size": 300})

    aws.wait(parent, timeout=60)

    summary = jobs.describe(parent)["arrayProperties"]["statusSummary"]
    assert summary["SUCCEEDED"] == 300
    assert aws.processes.by_job() == {}
