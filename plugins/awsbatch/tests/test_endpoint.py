"""The endpoint is as unkind as AWS Batch is: what a job is, how it runs and how it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aws import Aws
from aws.batch.ends import ENDS
from aws.plain_jobs import PlainJobs, container_of, python
from botocore.exceptions import ClientError

FOREVER = python("import time; print('here', flush=True); time.sleep(600)")
NOTHING = python("pass")
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="session")
def more_queues(shared_aws: Aws) -> None:
    shared_aws.queue("shared", fair_share=True)
    shared_aws.queue("kubernetes", "EKS")


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


@pytest.fixture
def ec2(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "ec2", "arn:aws:iam::123456789012:role/execution", fargate=False)


def ended(aws: Aws, jobs: PlainJobs, job: str) -> dict[str, Any]:
    aws.wait(job)
    return jobs.describe(job)


def output(aws: Aws, described: dict[str, Any]) -> list[str]:
    stream = container_of(described)["logStreamName"]
    events = aws.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)
    return [event["message"] for event in events["events"]]


def refused(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)

    return str(caught.value)


# How a container runs


@pytest.mark.parametrize("in_container", [True, False])
def test_a_job_runs_its_command_and_says_its_exit_code(aws: Aws, jobs: PlainJobs, in_container: bool) -> None:
    good = jobs.run(python("print('hello')"), container=in_container)
    bad = jobs.run(python("raise SystemExit(3)"), container=in_container)

    succeeded, failed = ended(aws, jobs, good), ended(aws, jobs, bad)

    assert (succeeded["status"], container_of(succeeded)["exitCode"]) == ("SUCCEEDED", 0)
    assert (failed["status"], container_of(failed)["exitCode"]) == ("FAILED", 3)
    assert failed["statusReason"] == "Essential container in task exited"
    assert output(aws, succeeded) == ["hello"]
    assert bool(succeeded["container"]) is in_container
    assert len(failed["attempts"]) == 1


def test_a_container_has_nothing_of_the_server_but_where_it_is(
    aws: Aws, jobs: PlainJobs, ec2: PlainJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = python("import os; print(*sorted(os.environ), os.getpid(), os.listdir())")

    on_fargate = output(aws, ended(aws, jobs, jobs.run(code)))[0].split()
    on_ec2 = output(aws, ended(aws, ec2, ec2.run(code)))[0].split()

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
    wait_for(lambda: len(output(aws, jobs.describe(job))) == 2)
    assert len(aws.processes.of(job)) == 2

    jobs.batch.terminate_job(jobId=job, reason="enough")
    described = ended(aws, jobs, job)

    assert output(aws, described)[2:] == ["child too: False"]
    assert (described["status"], described["statusReason"]) == ("FAILED", "enough")
    assert container_of(described)["exitCode"] == 5
    assert aws.processes.of(job) == []


@pytest.mark.parametrize("image", ["entrypoint-deaf", "entrypoint-waits", "python"])
def test_what_does_not_listen_is_killed_after_the_stop_timeout(aws: Aws, jobs: PlainJobs, image: str) -> None:
    aws.turn(stop_timeout=0.3)
    job = jobs.run(FOREVER, image)
    aws.wait(job, statuses=["RUNNING"])

    begun = time.monotonic()
    jobs.batch.terminate_job(jobId=job, reason="enough")
    described = ended(aws, jobs, job)

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

    described = ended(aws, jobs, job)

    if written:
        assert (described["status"], output(aws, described)) == ("SUCCEEDED", written)
    else:
        assert described["status"] == "FAILED"
        assert container_of(described)["exitCode"] != 0


def test_an_image_without_python_and_one_that_there_is_not(aws: Aws, jobs: PlainJobs) -> None:
    without, unknown = jobs.run(NOTHING, "no-python"), jobs.run(NOTHING, "someone/something:1")

    described, pulled = ended(aws, jobs, without), ended(aws, jobs, unknown)

    assert 'exec: "python3": executable file not found' in container_of(described)["reason"]
    assert container_of(pulled)["reason"].startswith("CannotPullContainerError")
    assert "exitCode" not in container_of(described)
    assert aws.client("logs").describe_log_streams(
        logGroupName="/aws/batch/job", logStreamNamePrefix=container_of(pulled)["logStreamName"]
    )["logStreams"] == []  # fmt: skip


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_an_image_has_the_python_that_its_tag_says(aws: Aws, jobs: PlainJobs, version: str) -> None:
    code = python("import sys; print('%d.%d' % sys.version_info[:2])")

    described = ended(aws, jobs, jobs.run(code, f"public.ecr.aws/docker/library/python:{version}-slim"))

    if "manifest unknown" in container_of(described).get("reason", ""):
        pytest.skip(f"no Python {version} on this machine")

    assert output(aws, described) == [version]


def test_an_image_is_missing_every_time(aws: Aws, jobs: PlainJobs) -> None:
    for job in (jobs.run(NOTHING, "python:3.99"), jobs.run(NOTHING, "python:3.99")):
        assert "manifest unknown" in container_of(ended(aws, jobs, job))["reason"]


def test_a_role_that_iam_does_not_have(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(NOTHING, task={"taskRoleArn": "arn:aws:iam::123456789012:role/nobody"})

    assert "unable to assume the role 'arn:aws:iam::123456789012:role/nobody'" in ended(aws, jobs, job)["statusReason"]


def test_overrides_go_by_the_name_of_the_container(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(NOTHING, environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}])
    override = {"name": "main", "command": python("import os; print(os.environ['A'], os.environ['B'])")}
    override["environment"] = [{"name": "B", "value": "2"}]

    job = jobs.submit(definition, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})

    assert output(aws, ended(aws, jobs, job)) == ["1 2"]
    other = {"taskProperties": [{"containers": [{**override, "name": "other"}]}]}
    assert "other" in refused(jobs.submit, definition=definition, ecsPropertiesOverride=other)
    assert "containerOverrides" in refused(jobs.submit, definition=definition, containerOverrides={"command": ["x"]})


# Arrays


def test_an_array_spawns_its_children_later_and_is_pending_while_they_run(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(spawn_delay=0.3)
    index = "int(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'])"
    definition = jobs.define(python(f"import os; raise SystemExit({index})"))
    parent = jobs.submit(definition, "arrayed", arrayProperties={"size": 3})

    assert jobs.describe(parent)["status"] == "SUBMITTED"
    assert jobs.batch.describe_jobs(jobs=[f"{parent}:0"])["jobs"] == []
    aws.wait(parent, statuses=["PENDING"])
    described = ended(aws, jobs, parent)

    assert (described["status"], described["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert {name: n for name, n in described["arrayProperties"]["statusSummary"].items() if n} == {
        "SUCCEEDED": 1,
        "FAILED": 2,
    }
    child = jobs.describe(f"{parent}:2")
    assert (child["arrayProperties"], container_of(child)["exitCode"]) == ({"index": 2}, 2)
    assert child["createdAt"] >= described["createdAt"] + 300
    assert listed(jobs, arrayJobId=parent, jobStatus="FAILED") == [f"{parent}:2", f"{parent}:1"]
    assert listed(jobs, jobQueue="fargate", filters=[{"name": "JOB_NAME", "values": ["arrayed"]}]) == [parent]


def test_a_child_that_is_ended_before_it_is_there_starts_all_the_same(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(spawn_delay=0.2)
    definition = jobs.define(NOTHING)
    parent = jobs.submit(definition, arrayProperties={"size": 2})
    answer = jobs.batch.terminate_jobs(jobs=[f"{parent}:1"], reason="too early")

    assert answer["successful"] == [f"{parent}:1"]
    assert ended(aws, jobs, parent)["status"] == "SUCCEEDED"


def test_the_end_of_a_parent_is_that_of_its_children(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(stop_timeout=0.1)
    running = jobs.submit(jobs.define(FOREVER), arrayProperties={"size": 2})
    aws.wait(running, statuses=["PENDING"])
    aws.wait(f"{running}:0", f"{running}:1", statuses=["RUNNING"])
    aws.turn(spawn_delay=60)
    unspawned = jobs.submit(jobs.define(FOREVER), arrayProperties={"size": 2})

    jobs.batch.terminate_jobs(jobs=[running, unspawned], reason="enough")

    assert ended(aws, jobs, running)["statusReason"] == "enough"
    assert ended(aws, jobs, unspawned)["status"] == "FAILED"
    assert jobs.describe(f"{running}:1")["statusReason"] == "enough"
    assert jobs.batch.describe_jobs(jobs=[f"{unspawned}:0"])["jobs"] == []


# What is known of jobs


def test_a_new_job_is_unknown_for_a_while_and_so_is_an_old_one(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(hidden_for=0.4, unlisted_for=60)
    definition = jobs.define(NOTHING)
    job = jobs.submit(definition, "fresh")
    named = [{"name": "JOB_NAME", "values": ["fresh"]}]

    assert jobs.batch.describe_jobs(jobs=[job, UNKNOWN])["jobs"] == []
    wait_for(lambda: jobs.batch.describe_jobs(jobs=[job])["jobs"])
    assert listed(jobs, jobQueue="fargate", filters=named) == []
    aws.wait(job)
    aws.turn(unlisted_for=0)
    assert listed(jobs, jobQueue="fargate", filters=named) == [job]
    aws.turn(remembered_for=0)
    assert jobs.batch.describe_jobs(jobs=[job])["jobs"] == []
    assert listed(jobs, jobQueue="fargate", filters=named) == []


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

    assert listed(jobs, jobQueue="fargate") == []
    assert listed(jobs, jobQueue="fargate", filters=named("paged-7")) == [ids[7]]
    assert listed(jobs, jobQueue="fargate", filters=named("paged-7"), jobStatus="RUNNING") == [ids[7]]
    page = jobs.batch.list_jobs(jobQueue="fargate", filters=named("pAGED*"))
    rest = jobs.batch.list_jobs(jobQueue="fargate", filters=named("pAGED*"), nextToken=page["nextToken"])
    found = [job["jobId"] for job in page["jobSummaryList"] + rest["jobSummaryList"]]
    assert (len(page["jobSummaryList"]), found) == (100, ids[::-1])
    two = [*named("a"), {"name": "JOB_DEFINITION", "values": ["b"]}]
    assert "one filter" in refused(jobs.batch.list_jobs, jobQueue="fargate", filters=two)
    by_definition = [{"name": "JOB_DEFINITION", "values": [definition]}]
    assert len(listed(jobs, jobQueue="fargate", filters=by_definition)) == 100
    assert "isTerminated" not in page["jobSummaryList"][0]
    aws.turn(ended_stay_runnable=True)
    jobs.batch.terminate_job(jobId=ids[-1], reason="enough")
    again = jobs.batch.list_jobs(jobQueue="fargate", filters=named("paged-100"))["jobSummaryList"][0]
    assert again["isTerminated"] is True


# Orders to end


def test_a_cancel_takes_what_has_not_started(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(FOREVER)
    running = jobs.submit(definition)
    aws.wait(running, statuses=["RUNNING"])
    aws.hold("fargate")
    waiting = jobs.submit(definition)

    for job in (running, waiting, UNKNOWN):
        jobs.batch.cancel_job(jobId=job, reason="no more")

    described = ended(aws, jobs, waiting)
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


def test_a_terminated_job_may_succeed(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(termination_delay=60)
    job = jobs.run(python("import time; time.sleep(0.3)"))
    aws.wait(job, statuses=["RUNNING"])

    jobs.batch.terminate_job(jobId=job, reason="enough")

    described = ended(aws, jobs, job)
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
    assert ended(aws, jobs, job)["statusReason"] == "enough"
    assert jobs.describe(job)["attempts"] == []


def test_a_job_may_read_failed_while_its_processes_live(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(abandoned_for=0.5)
    job = jobs.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    jobs.batch.terminate_job(jobId=job, reason="enough")

    assert ended(aws, jobs, job)["status"] == "FAILED"
    assert aws.processes.of(job)
    wait_for(lambda: not aws.processes.of(job))


# Retries, limits, and what befalls jobs


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

    described = ended(aws, jobs, job)

    assert len(described["attempts"]) == attempts
    assert output(aws, described) == [str(attempts)]
    streams = {a["taskProperties"][0]["containers"][0]["logStreamName"] for a in described["attempts"]}
    assert len(streams) == attempts


def test_the_time_limit_is_never_retried(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(time_limit=0.1, stop_timeout=0.1)
    given = {"timeout": {"attemptDurationSeconds": 60}, "retryStrategy": {"attempts": 3}}
    described = ended(aws, jobs, jobs.submit(jobs.define(FOREVER), **given))

    assert described["statusReason"] == "Job attempt duration exceeded timeout"
    assert len(described["attempts"]) == 1


@pytest.mark.parametrize("way", ENDS)
def test_jobs_end_in_all_ways(aws: Aws, jobs: PlainJobs, way: str) -> None:
    end = ENDS[way]
    aws.turn(stop_timeout=0.1)
    aws.plan(way, jobs=f"{way}-*")
    job = jobs.run(python("print('done')") if end.when == "finished" else FOREVER, name=f"{way}-1")

    described = ended(aws, jobs, job)

    container = container_of(described)
    assert (described["status"], described["statusReason"]) == ("FAILED", end.status_reason)
    assert (container.get("reason"), container.get("exitCode")) == (end.reason, end.exit_code)
    assert aws.processes.of(job) == []

    if end.when == "finished":
        assert output(aws, described) == ["done"]


def test_a_running_job_is_told_how_to_end(aws: Aws, ec2: PlainJobs) -> None:
    job = ec2.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    aws.end(job, "host_lost")

    assert ended(aws, ec2, job)["statusReason"].startswith("Host EC2 (instance i-")


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

    assert ended(aws, jobs, second)["statusReason"] == "Dependent Job failed"


def test_lines_come_late_and_streams_may_be_missing(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(log_delay=0.3)
    late = ended(aws, jobs, jobs.run(python("print('late')")))
    assert output(aws, late) == []
    wait_for(lambda: output(aws, late) == ["late"])

    aws.turn(log_streams=False)
    without = ended(aws, jobs, jobs.run(python("print('never')")))
    assert "ResourceNotFoundException" in refused(output, aws=aws, described=without)

    elsewhere = {"logDriver": "awslogs", "options": {"awslogs-group": "/not/there"}}
    aws.turn(log_streams=True)
    failed = ended(aws, jobs, jobs.run(NOTHING, logConfiguration=elsewhere))
    assert failed["statusReason"].startswith("ResourceInitializationError")


def test_lines_are_there_while_the_job_runs(aws: Aws, jobs: PlainJobs) -> None:
    job = jobs.run(FOREVER)
    aws.wait(job, statuses=["RUNNING"])

    wait_for(lambda: output(aws, jobs.describe(job)) == ["here"])
    assert jobs.describe(job)["status"] == "RUNNING"


# What is refused


def test_too_long_overrides_are_accepted_and_then_fail(aws: Aws, jobs: PlainJobs) -> None:
    definition = jobs.define(NOTHING)
    override = {"name": "main", "environment": [{"name": "LONG", "value": "x" * 8000}]}

    job = jobs.submit(definition, ecsPropertiesOverride={"taskProperties": [{"containers": [override]}]})

    described = ended(aws, jobs, job)
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


def listed(jobs: PlainJobs, **request: Any) -> list[str]:
    return [job["jobId"] for job in jobs.batch.list_jobs(**request)["jobSummaryList"]]


def wait_for(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds

    while not condition():
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.01)
