"""Arrays of the endpoint, and what it tells of jobs: not everything, and not at once."""

from __future__ import annotations

from typing import Any

import pytest
from aws import Aws
from aws.expectations import refused
from aws.plain_jobs import PlainJobs, container_of, python

FOREVER = python("import time; print('here', flush=True); time.sleep(600)")
NOTHING = python("pass")
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


def test_an_array_spawns_its_children_later_and_is_pending_while_they_run(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(spawn_delay=60)
    index = "int(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'])"
    definition = jobs.define(python(f"import os; raise SystemExit({index})"))
    parent = jobs.submit(definition, "arrayed", arrayProperties={"size": 3})

    assert jobs.describe(parent)["status"] == "SUBMITTED"
    assert jobs.batch.describe_jobs(jobs=[f"{parent}:0"])["jobs"] == []
    aws.turn(spawn_delay=0)
    described = jobs.ended(parent)

    assert (described["status"], described["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert {name: n for name, n in described["arrayProperties"]["statusSummary"].items() if n} == {
        "SUCCEEDED": 1,
        "FAILED": 2,
    }
    child = jobs.describe(f"{parent}:2")
    assert (child["arrayProperties"], container_of(child)["exitCode"]) == ({"index": 2}, 2)
    assert child["createdAt"] > described["createdAt"]
    assert jobs.listed(arrayJobId=parent, jobStatus="FAILED") == [f"{parent}:2", f"{parent}:1"]
    assert jobs.listed(jobQueue="fargate", filters=[{"name": "JOB_NAME", "values": ["arrayed"]}]) == [parent]


def test_a_child_that_is_ended_before_it_is_there_starts_all_the_same(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(spawn_delay=60)
    definition = jobs.define(NOTHING)
    parent = jobs.submit(definition, arrayProperties={"size": 2})
    answer = jobs.batch.terminate_jobs(jobs=[f"{parent}:1"], reason="too early")

    aws.turn(spawn_delay=0)

    assert answer["successful"] == [f"{parent}:1"]
    assert jobs.ended(parent)["status"] == "SUCCEEDED"


def test_the_end_of_a_parent_is_that_of_its_children(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(stop_timeout=0.1)
    running = jobs.submit(jobs.define(FOREVER), arrayProperties={"size": 2})
    aws.wait(running, statuses=["PENDING"])
    aws.wait(f"{running}:0", f"{running}:1", statuses=["RUNNING"])
    aws.turn(spawn_delay=60)
    unspawned = jobs.submit(jobs.define(FOREVER), arrayProperties={"size": 2})

    jobs.batch.terminate_jobs(jobs=[running, unspawned], reason="enough")

    assert jobs.ended(running)["statusReason"] == "enough"
    assert jobs.ended(unspawned)["status"] == "FAILED"
    assert jobs.describe(f"{running}:1")["statusReason"] == "enough"
    assert jobs.batch.describe_jobs(jobs=[f"{unspawned}:0"])["jobs"] == []


def test_a_new_job_is_unknown_for_a_while_and_so_is_an_old_one(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(hidden_for=60, unlisted_for=60)
    definition = jobs.define(NOTHING)
    job = jobs.submit(definition, "fresh")
    named = [{"name": "JOB_NAME", "values": ["fresh"]}]

    assert jobs.batch.describe_jobs(jobs=[job, UNKNOWN])["jobs"] == []
    aws.turn(hidden_for=0)
    assert jobs.describe(job)["jobId"] == job
    assert jobs.listed(jobQueue="fargate", filters=named) == []
    aws.wait(job)
    aws.turn(unlisted_for=0)
    assert jobs.listed(jobQueue="fargate", filters=named) == [job]
    aws.turn(remembered_for=0)
    assert jobs.batch.describe_jobs(jobs=[job])["jobs"] == []
    assert jobs.listed(jobQueue="fargate", filters=named) == []


def test_every_third_answer_forgets_some(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(forgetful=2)
    definition = jobs.define(NOTHING)
    ids = [jobs.submit(definition) for _ in range(4)]

    answers = [len(jobs.batch.describe_jobs(jobs=ids)["jobs"]) for _ in range(3)]

    assert sorted(answers) == [2, 4, 4]


def test_listing(aws: Aws, jobs: PlainJobs) -> None:
    aws.hold("fargate")
    definition = jobs.define(NOTHING)
    ids = [jobs.submit(definition, f"Paged-{number}") for number in range(101)]

    def named(name: str) -> list[dict[str, Any]]:
        return [{"name": "JOB_NAME", "values": [name]}]

    assert jobs.listed(jobQueue="fargate") == []
    assert jobs.listed(jobQueue="fargate", filters=named("paged-7")) == [ids[7]]
    assert jobs.listed(jobQueue="fargate", filters=named("paged-7"), jobStatus="RUNNING") == [ids[7]]
    page = jobs.batch.list_jobs(jobQueue="fargate", filters=named("pAGED*"))
    rest = jobs.batch.list_jobs(jobQueue="fargate", filters=named("pAGED*"), nextToken=page["nextToken"])
    found = [job["jobId"] for job in page["jobSummaryList"] + rest["jobSummaryList"]]
    assert (len(page["jobSummaryList"]), found) == (100, ids[::-1])
    two = [*named("a"), {"name": "JOB_DEFINITION", "values": ["b"]}]
    assert "one filter" in refused(jobs.batch.list_jobs, jobQueue="fargate", filters=two)
    by_definition = [{"name": "JOB_DEFINITION", "values": [definition]}]
    assert len(jobs.listed(jobQueue="fargate", filters=by_definition)) == 100
    assert "isTerminated" not in page["jobSummaryList"][0]
    aws.turn(ended_stay_runnable=True)
    jobs.batch.terminate_job(jobId=ids[-1], reason="enough")
    again = jobs.batch.list_jobs(jobQueue="fargate", filters=named("paged-100"))["jobSummaryList"][0]
    assert again["isTerminated"] is True
