"""The endpoint is as unkind as AWS Batch is: how its containers run."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aws import Aws
from aws.expectations import refused, wait_for
from aws.plain_jobs import PlainJobs, container_of, python

FOREVER = python("import time; print('here', flush=True); time.sleep(600)")
NOTHING = python("pass")


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


@pytest.fixture
def ec2(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "ec2", "arn:aws:iam::123456789012:role/execution", fargate=False)


@pytest.mark.parametrize("in_container", [True, False])
def test_a_job_runs_its_command_and_says_its_exit_code(aws: Aws, jobs: PlainJobs, in_container: bool) -> None:
    good = jobs.run(python("print('hello')"), container=in_container)
    bad = jobs.run(python("raise SystemExit(3)"), container=in_container)

    succeeded, failed = jobs.ended(good), jobs.ended(bad)

    assert (succeeded["status"], container_of(succeeded)["exitCode"]) == ("SUCCEEDED", 0)
    assert (failed["status"], container_of(failed)["exitCode"]) == ("FAILED", 3)
    assert failed["statusReason"] == "Essential container in task exited"
    assert jobs.output(succeeded) == ["hello"]
    assert bool(succeeded["container"]) is in_container
    assert len(failed["attempts"]) == 1


def test_a_container_has_nothing_of_the_server_but_where_it_is(
    aws: Aws, jobs: PlainJobs, ec2: PlainJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = python("import os; print(*sorted(os.environ), os.getpid(), os.listdir())")

    on_fargate = jobs.output(jobs.ended(jobs.run(code)))[0].split()
    on_ec2 = ec2.output(ec2.ended(ec2.run(code)))[0].split()

    own = {"AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME"}
    own |= {"AWS_ENDPOINT_URL", "AWS_EXECUTION_ENV", "HOME", "HOSTNAME", "PATH"}
    assert {*on_ec2} - {"LC_CTYPE"} == {*own, "1", "[]"}
    assert {*on_fargate} - {*on_ec2} == {"AWS_REGION", "AWS_DEFAULT_REGION"}


def test_sigterm_goes_to_process_1_alone_and_the_end_of_process_1_is_that_of_all(aws: Aws, jobs: PlainJobs) -> None:
    # Process 1 ends a moment after its signal, so that the child could have told of one.
    code = (
        "import os, select, signal, time\n"
        "told, tells = os.pipe()\n"
        "child = os.fork()\n"
        "def tell(*_): os.write(tells, b'x')\n"
        "def end(*_): print('child too:', bool(select.select([told], [], [], 0.3)[0]), flush=True); os._exit(5)\n"
        "signal.signal(signal.SIGTERM, end if child else tell)\n"
        "print('there', flush=True)\n"
        "time.sleep(600)\n"
    )
    job = jobs.run(python(code), stopTimeout=10)
    aws.wait(job, statuses=["RUNNING"])
    wait_for(lambda: len(jobs.output(jobs.describe(job))) == 2)
    assert len(aws.processes.of(job)) == 2

    jobs.batch.terminate_job(jobId=job, reason="enough")
    described = jobs.ended(job)

    assert jobs.output(described)[2:] == ["child too: False"]
    assert (described["status"], described["statusReason"]) == ("FAILED", "enough")
    assert container_of(described)["exitCode"] == 5
    assert aws.processes.of(job) == []


def test_a_process_is_seen_that_has_thrown_its_environment_away(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(["env", "-i", "/bin/sh", "-c", "sleep 600 & sleep 600"])

    wait_for(lambda: len(aws.processes.of(job)) == 3)


@pytest.mark.parametrize("image", ["entrypoint-deaf", "entrypoint-waits", "python"])
def test_what_does_not_listen_is_killed_after_the_stop_timeout(aws: Aws, jobs: PlainJobs, image: str) -> None:
    aws.turn(stop_timeout=0.3)
    job = jobs.run(FOREVER, image)
    aws.wait(job, statuses=["RUNNING"])

    begun = time.monotonic()
    jobs.batch.terminate_job(jobId=job, reason="enough")
    described = jobs.ended(job)

    assert time.monotonic() - begun >= 0.3
    assert container_of(described)["exitCode"] == 137
    assert aws.processes.of(job) == []


@pytest.mark.parametrize(
    ("image", "written"),
    [
        ("entrypoint-exec", ["1", "two words"]),
        ("entrypoint-python", []),
        ("entrypoint-drops", ["this image does one thing only"]),
        ("entrypoint-eval", None),
        ("entrypoint-unquoted", None),
    ],
)
def test_entrypoints_do_with_a_command_what_they_like(
    aws: Aws, jobs: PlainJobs, image: str, written: list[str] | None
) -> None:
    job = jobs.run([*python("import os, sys; print(os.getpid()); print(sys.argv[1])"), "two words"], image)

    described = jobs.ended(job)

    if written:
        assert (described["status"], jobs.output(described)) == ("SUCCEEDED", written)
    else:
        assert described["status"] == "FAILED"
        assert container_of(described)["exitCode"] != 0


def test_an_image_without_python_and_one_that_there_is_not(aws: Aws, jobs: PlainJobs) -> None:
    without, unknown = jobs.run(NOTHING, "no-python"), jobs.run(NOTHING, "someone/something:1")

    described, pulled = jobs.ended(without), jobs.ended(unknown)

    assert 'exec: "python3": executable file not found' in container_of(described)["reason"]
    assert container_of(pulled)["reason"].startswith("CannotPullContainerError")
    assert "exitCode" not in container_of(described)
    assert aws.client("logs").describe_log_streams(
        logGroupName="/aws/batch/job", logStreamNamePrefix=container_of(pulled)["logStreamName"]
    )["logStreams"] == []  # fmt: skip


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_an_image_has_the_python_that_its_tag_says(aws: Aws, jobs: PlainJobs, version: str) -> None:
    code = python("import sys; print('%d.%d' % sys.version_info[:2])")

    described = jobs.ended(jobs.run(code, f"public.ecr.aws/docker/library/python:{version}-slim"))

    if "manifest unknown" in container_of(described).get("reason", ""):
        pytest.skip(f"no Python {version} on this machine")

    assert jobs.output(described) == [version]


def test_an_image_is_missing_every_time(aws: Aws, jobs: PlainJobs) -> None:
    for job in (jobs.run(NOTHING, "python:3.99"), jobs.run(NOTHING, "python:3.99")):
        assert "manifest unknown" in container_of(jobs.ended(job))["reason"]


def test_a_role_that_iam_does_not_have(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(NOTHING, task={"taskRoleArn": "arn:aws:iam::123456789012:role/nobody"})

    assert "unable to assume the role 'arn:aws:iam::123456789012:role/nobody'" in jobs.ended(job)["statusReason"]


def test_overrides_go_by_the_name_of_the_container(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(NOTHING, environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}])
    override: dict[str, Any] = {"name": "main", "command": python("import os; print(os.environ['A'], os.environ['B'])")}
    override["environment"] = [{"name": "B", "value": "2"}]

    job = jobs.submit(definition, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})

    assert jobs.output(jobs.ended(job)) == ["1 2"]
    other = {"taskProperties": [{"containers": [{**override, "name": "other"}]}]}
    assert "other" in refused(jobs.submit, definition=definition, ecsPropertiesOverride=other)
    assert "containerOverrides" in refused(jobs.submit, definition=definition, containerOverrides={"command": ["x"]})
