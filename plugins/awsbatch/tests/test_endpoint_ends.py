"""How jobs of the endpoint end: by order, by themselves, and by what befalls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws import Aws
from aws.batch.ends import ENDS
from aws.expectations import refused, wait_for
from aws.plain_jobs import PlainJobs, container_of, python

FOREVER = python("import time; print('here', flush=True); time.sleep(600)")
NOTHING = python("pass")
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


@pytest.fixture
def ec2(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "ec2", "arn:aws:iam::123456789012:role/execution", fargate=False)


def test_a_cancel_takes_what_has_not_started(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(FOREVER)
    running = jobs.submit(definition)
    aws.wait(running, statuses=["RUNNING"])
    aws.hold("fargate")
    waiting = jobs.submit(definition)

    for job in (running, waiting, UNKNOWN):
        jobs.batch.cancel_job(jobId=job, reason="no more")

    described = jobs.ended(waiting)
    assert (described["status"], described["statusReason"], described["isCancelled"]) == ("FAILED", "no more", True)
    assert described["attempts"] == []
    assert (jobs.describe(running)["status"], jobs.describe(running)["isCancelled"]) == ("RUNNING", False)
    assert "Invalid job ID" in refused(jobs.batch.cancel_job, jobId="nonsense", reason="")


def test_the_end_of_an_ended_job_is_nothing(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(NOTHING)
    aws.wait(job)

    jobs.batch.terminate_job(jobId=job, reason="too late")

    described = jobs.describe(job)
    assert (described["status"], described["isTerminated"]) == ("SUCCEEDED", False)


def test_bulk_calls_answer_id_by_id(aws: Aws, jobs: PlainJobs) -> None:
    aws.hold("fargate")
    aws.turn(bulk_errors=2)
    definition = jobs.define(NOTHING)
    ids = [jobs.submit(definition) for _ in range(2)]

    answer = jobs.batch.terminate_jobs(jobs=[*ids, UNKNOWN], reason="enough")

    assert answer["successful"] == [ids[0], UNKNOWN]
    assert answer["errors"] == [{"job": ids[1], "code": "ThrottlingException", "message": "Rate exceeded"}]
    assert "between 1 and 50" in refused(jobs.batch.cancel_jobs, jobs=[UNKNOWN] * 51, reason="enough")
    aws.turn(bulk_calls=False)
    assert "UnknownOperation" in refused(jobs.batch.terminate_jobs, jobs=ids, reason="enough")
    assert jobs.describe(ids[1])["status"] == "RUNNABLE"


def test_a_terminated_job_may_succeed(aws: Aws, jobs: PlainJobs, tmp_path: Path) -> None:
    aws.turn(termination_delay=60)
    goes_on = tmp_path / "goes-on"
    job = jobs.run(python(f"import os, time\nwhile not os.path.exists({str(goes_on)!r}): time.sleep(0.01)"))
    aws.wait(job, statuses=["RUNNING"])

    jobs.batch.terminate_job(jobId=job, reason="enough")
    goes_on.touch()

    described = jobs.ended(job)
    assert (described["status"], described["isTerminated"]) == ("SUCCEEDED", True)
    assert described["statusReason"] == "Essential container in task exited"


def test_a_terminated_job_may_stay_runnable_until_it_is_the_first(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(ended_stay_runnable=True)
    aws.hold("fargate")
    job = jobs.run(NOTHING)
    aws.wait(job, statuses=["RUNNABLE"])

    jobs.batch.terminate_job(jobId=job, reason="enough")

    described = jobs.describe(job)
    assert (described["status"], described["isTerminated"]) == ("RUNNABLE", True)
    aws.release("fargate")
    assert jobs.ended(job)["statusReason"] == "enough"
    assert jobs.describe(job)["attempts"] == []


def test_a_job_may_read_failed_while_its_processes_live(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(abandoned_for=60)
    job = jobs.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    jobs.batch.terminate_job(jobId=job, reason="enough")

    assert jobs.ended(job)["status"] == "FAILED"
    assert aws.processes.of(job)
    aws.turn(abandoned_for=0)
    wait_for(lambda: not aws.processes.of(job))


@pytest.mark.parametrize(
    ("strategy", "attempts"),
    [
        ({"attempts": 1}, 1),
        ({"attempts": 2}, 2),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "7", "action": "EXIT"}]}, 2),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "3", "action": "EXIT"}]}, 1),
        ({"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Essential*", "action": "exit"}]}, 1),
    ],
)
def test_batch_tries_again_by_itself(aws: Aws, jobs: PlainJobs, strategy: dict[str, Any], attempts: int) -> None:
    code = python("import os; print(os.environ['AWS_BATCH_JOB_ATTEMPT']); raise SystemExit(3)")
    job = jobs.submit(jobs.define(code), retryStrategy=strategy)

    described = jobs.ended(job)

    assert len(described["attempts"]) == attempts
    assert jobs.output(described) == [str(attempts)]
    streams = {a["taskProperties"][0]["containers"][0]["logStreamName"] for a in described["attempts"]}
    assert len(streams) == attempts


def test_the_time_limit_is_never_retried(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(time_limit=0.1, stop_timeout=0.1)
    given: dict[str, Any] = {"timeout": {"attemptDurationSeconds": 60}, "retryStrategy": {"attempts": 3}}
    described = jobs.ended(jobs.submit(jobs.define(FOREVER), **given))

    assert described["statusReason"] == "Job attempt duration exceeded timeout"
    assert len(described["attempts"]) == 1


@pytest.mark.parametrize("way", ENDS)
def test_jobs_end_in_all_ways(aws: Aws, jobs: PlainJobs, way: str) -> None:
    end = ENDS[way]
    aws.turn(stop_timeout=0.1)
    aws.plan(way, jobs=f"{way}-*")
    job = jobs.run(python("print('done')") if end.when == "finished" else FOREVER, name=f"{way}-1")

    described = jobs.ended(job)

    container = container_of(described)
    assert (described["status"], described["statusReason"]) == ("FAILED", end.status_reason)
    assert (container.get("reason"), container.get("exitCode")) == (end.reason, end.exit_code)
    assert aws.processes.of(job) == []

    if end.when == "finished":
        assert jobs.output(described) == ["done"]


def test_a_running_job_is_told_how_to_end(aws: Aws, ec2: PlainJobs) -> None:
    job = ec2.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    aws.end(job, "host_lost")

    assert ec2.ended(job)["statusReason"].startswith("Host EC2 (instance i-")


def test_runnable_for_ever_says_why_of_the_first_only(aws: Aws, jobs: PlainJobs) -> None:
    aws.hold("fargate", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - no more")
    definition = jobs.define(NOTHING)
    first, second = jobs.submit(definition), jobs.submit(definition)
    aws.wait(first, second, statuses=["RUNNABLE"])

    assert jobs.describe(first)["statusReason"].startswith("CAPACITY:")
    assert "statusReason" not in jobs.describe(second)
    assert "startedAt" not in jobs.describe(second)
    aws.release("fargate")
    aws.wait(first, second)


def test_a_queue_runs_as_much_as_its_environment_holds(aws: Aws) -> None:
    aws.queue("narrow", "EC2", vcpus=1)
    jobs = PlainJobs(aws, "narrow", "", fargate=False)
    aws.turn(stop_timeout=0.1)
    definition = jobs.define(FOREVER)
    first, second = jobs.submit(definition), jobs.submit(definition)
    aws.wait(first, statuses=["RUNNING"])

    assert jobs.describe(second)["status"] == "RUNNABLE"
    aws.set_environment("narrow", "INVALID", "CLIENT_ERROR - role")
    jobs.batch.terminate_job(jobId=first, reason="enough")
    aws.wait(first)
    assert jobs.describe(second)["status"] == "RUNNABLE"
    aws.set_environment("narrow", "VALID")
    aws.wait(second, statuses=["RUNNING"])


def test_a_job_waits_for_others_and_fails_with_them(aws: Aws, jobs: PlainJobs) -> None:
    first = jobs.run(python("raise SystemExit(1)"))
    second = jobs.submit(jobs.define(NOTHING), dependsOn=[{"jobId": first}])

    assert jobs.ended(second)["statusReason"] == "Dependent Job failed"


def test_lines_come_late_and_streams_may_be_missing(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(log_delay=60)
    late = jobs.ended(jobs.run(python("print('late')")))
    assert jobs.output(late) == []
    aws.turn(log_delay=0)
    wait_for(lambda: jobs.output(late) == ["late"])

    aws.turn(log_streams=False)
    without = jobs.ended(jobs.run(python("print('never')")))
    assert "ResourceNotFoundException" in refused(jobs.output, described=without)

    elsewhere = {"logDriver": "awslogs", "options": {"awslogs-group": "/not/there"}}
    aws.turn(log_streams=True)
    failed = jobs.ended(jobs.run(NOTHING, logConfiguration=elsewhere))
    assert failed["statusReason"].startswith("ResourceInitializationError")


def test_lines_are_there_while_the_job_runs(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    wait_for(lambda: jobs.output(jobs.describe(job)) == ["here"])
    assert jobs.describe(job)["status"] == "RUNNING"
