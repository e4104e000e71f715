"""What the endpoint refuses, as AWS Batch does."""

from __future__ import annotations

from typing import Any

import pytest
from aws import Aws
from aws.expectations import refused
from aws.plain_jobs import PlainJobs, python

NOTHING = python("pass")
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


@pytest.fixture
def ec2(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "ec2", "arn:aws:iam::123456789012:role/execution", fargate=False)


@pytest.fixture(scope="session")
def more_queues(shared_aws: Aws) -> None:
    shared_aws.queue("shared", fair_share=True)
    shared_aws.queue("kubernetes", "EKS")


def test_too_long_overrides_are_accepted_and_then_fail(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(NOTHING)
    override = {"name": "main", "environment": [{"name": "LONG", "value": "x" * 8000}]}

    job = jobs.submit(definition, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})

    described = jobs.ended(job)
    assert described["statusReason"] == "Container Overrides length must be at most 8192"


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"tags": {"nodes": "[1, 2]"}}, "Invalid tag value"),
        ({"tags": {"key": "x" * 257}}, "Invalid tag value"),
        ({"name": "-job"}, "valid pattern"),
        ({"name": "j" * 129}, "valid pattern"),
        ({"shareIdentifier": "me"}, "no scheduling policy"),
        ({"jobQueue": "shared"}, "shareIdentifier must be specified"),
        ({"jobQueue": "kubernetes"}, "EKS"),
        ({"jobQueue": "ec2"}, "does not fit the platform"),
        ({"jobQueue": "nowhere"}, "not found"),
        ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
        ({"retryStrategy": {"evaluateOnExit": [{"onReason": "[H]ost*", "action": "RETRY"}]}}, "Invalid pattern"),
        ({"parameters": {"x": "y" * 31_000}}, "30 KiB"),
        ({"dependsOn": [{"jobId": UNKNOWN}]}, "not found"),
    ],
)
def test_submissions_that_are_refused(
    more_queues: None, aws: Aws, jobs: PlainJobs, request_: dict[str, Any], part: str
) -> None:
    assert part in refused(jobs.submit, definition=jobs.define(NOTHING), **request_)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ({"command": ["python3", ""]}, "cannot be empty"),
        ({"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}, "reserved"),
        ({"resourceRequirements": [{"type": "MEMORY", "value": "3840"}]}, "not valid"),
        ({"resourceRequirements": [{"type": "VCPU", "value": "3"}]}, "not valid for Fargate"),
    ],
)
def test_overrides_that_are_refused(aws: Aws, jobs: PlainJobs, override: dict[str, Any], part: str) -> None:
    given = {"taskProperties": [{"containers": [{"name": "main", **override}]}]}

    assert part in refused(jobs.submit, definition=jobs.define(NOTHING), ecsPropertiesOverride=given)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"stopTimeout": 121}, "at most 120"),
        ({"stopTimeout": 1}, "at least 2"),
        ({"linuxParameters": {"sharedMemorySize": 64}}, "sharedMemorySize"),
        ({"task": {"ephemeralStorage": {"sizeInGiB": 20}}}, "between 21 and 200"),
        ({"task": {"executionRoleArn": ""}}, "EXECUTION_ROLE_ARN"),
        ({"command": ["x" * 25_000]}, "24 KiB"),
        ({"resourceRequirements": []}, "VCPU is required"),
    ],
)
def test_definitions_that_are_refused_on_fargate(
    aws: Aws, jobs: PlainJobs, settings: dict[str, Any], part: str
) -> None:
    assert part in refused(jobs.define, **{"command": NOTHING, **settings})


def test_definitions_that_are_refused_on_ec2(aws: Aws, ec2: PlainJobs) -> None:
    ec2.define(NOTHING, stopTimeout=121)
    half = [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "512"}]

    assert "whole number" in refused(ec2.define, command=NOTHING, resourceRequirements=half)
    network = {"networkConfiguration": {"assignPublicIp": "ENABLED"}}
    assert "only for Fargate" in refused(ec2.define, command=NOTHING, task=network)


def test_a_deregistered_revision_cannot_be_submitted(aws: Aws, jobs: PlainJobs) -> None:
    revision = jobs.define(NOTHING)
    name = revision.rpartition("/")[2].partition(":")[0]
    jobs.batch.deregister_job_definition(jobDefinition=revision)

    assert "not in ACTIVE" in refused(jobs.submit, definition=revision)
    assert "no active revision" in refused(jobs.submit, definition=name)
    described = jobs.batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    assert [entry["status"] for entry in described] == ["INACTIVE"]
    assert revision not in aws.definitions()


def test_a_disabled_queue_takes_nothing(aws: Aws, jobs: PlainJobs) -> None:
    aws.queue("closed")
    jobs.batch.update_job_queue(jobQueue="closed", state="DISABLED")

    assert "not in ENABLED" in refused(jobs.submit, definition=jobs.define(NOTHING), jobQueue="closed")


def test_words_that_the_model_does_not_have(aws: Aws) -> None:
    batch = aws.client("batch", parameter_validation=False)

    assert "jobQueue" in refused(batch.submit_job, jobName="a")
    assert "none of" in refused(batch.list_jobs, jobQueue="fargate", jobStatus="DONE")
