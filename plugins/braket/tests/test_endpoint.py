"""The endpoint is as unkind as Amazon: seen with the SDK and boto3 as they are."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws import devices
from aws.client import Account, running_endpoint
from aws.faults import Fault
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from braket.aws import AwsDevice, AwsQuantumJob, AwsSession
from braket.circuits import Circuit
from braket.program_sets import ProgramSet
from braket.task_result import ProgramSetTaskResult
from braket.tasks.program_set_quantum_task_result import ProgramSetQuantumTaskResult
from probes import alive, wait_until
from sharing import shared_endpoint

BELL = Circuit().h(0).cnot(0, 1)
ACTION = BELL.to_ir("OPENQASM").json()

#: Nothing is asked twice unless a test does it.
ONCE = Config(retries={"total_max_attempts": 1})

#: Says what it is and waits; most of what a container is shows in it.
WAITING = """
import json, os, signal, subprocess, time
from pathlib import Path

NOTES = Path({notes!r})

def go():
    signal.signal(signal.SIGTERM, lambda *_: (NOTES / "heard").touch())
    subprocess.Popen(["setsid", "sleep", "1000"])
    note = NOTES / "note.part"
    note.write_text(json.dumps(dict(os.environ, pid=os.getpid())))
    note.rename(NOTES / "note")
    time.sleep(1000)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """Return code that waits, and that leaves a note in the folder of the test."""
    return WAITING.format(notes=str(tmp_path))


@pytest.fixture
def braket(account: Account) -> Any:
    return account.client("braket", config=ONCE)


@pytest.fixture(autouse=True)
def _nothing_is_left(account: Account) -> Iterator[None]:
    yield
    account.clear()
    assert account.mistakes() == []


@pytest.fixture
def loop() -> Iterator[None]:
    """Give Amazon's SDK an event loop: of a thread that has none it makes one, which nobody closes."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield
    asyncio.set_event_loop(None)
    made.close()


@pytest.fixture
def session(account: Account) -> AwsSession:
    return AwsSession(default_bucket=account.bucket)


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()

    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            packed.addfile(member, io.BytesIO(content.encode()))

    return buffer.getvalue()


def request(
    account: Account, code: str | bytes = "def go(): pass", name: str = "a-job", **fields: Any
) -> dict[str, Any]:
    """Store code, and return what CreateJob takes."""
    content = archive({"task/__init__.py": "", "task/code.py": code}) if isinstance(code, str) else code
    key = f"{account.access_key}/{name}/code.tar.gz"
    account.client("s3").put_object(Bucket=account.bucket, Key=key, Body=content)
    script = {"entryPoint": "task.code:go", "s3Uri": f"s3://{account.bucket}/{key}", "compressionType": "GZIP"}

    return {
        "jobName": name,
        "roleArn": account.role_arn,
        "algorithmSpecification": {"scriptModeConfig": script, "containerImage": {"uri": account.image}},
        "outputDataConfig": {"s3Path": f"s3://{account.bucket}/{account.access_key}/{name}"},
        "instanceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGb": 30},
        "deviceConfig": {"device": "local:braket/braket_sv"},
        **fields,
    }


def end_of(account: Account, name: str = "a-job") -> dict[str, Any]:
    """Wait for the end of a job, and return the truth about it."""
    wait_until(lambda: found(account, name)["status"] in ("COMPLETED", "FAILED", "CANCELLED"))
    return found(account, name)


def found(account: Account, name: str = "a-job") -> dict[str, Any]:
    return next(job for job in account.jobs() if job["jobName"] == name)


def result_of(account: Account, braket: Any, code: str | bytes, **fields: Any) -> dict[str, Any]:
    """Run a job to its end."""
    braket.create_job(**request(account, code, **fields))
    return end_of(account)


def note_in(folder: Path) -> dict[str, Any]:
    """Wait for what waiting code has to say: its environment, and its process id."""
    wait_until((folder / "note").exists)
    said: dict[str, Any] = json.loads((folder / "note").read_text())
    return said


def outputs_of(account: Account) -> list[str]:
    """Return the names of what a job, or the service on its behalf, has stored."""
    place = f"{account.access_key}/a-job/output/"
    return [key.removeprefix(place) for key in account.keys(place)]


def task(account: Account, device: str = devices.SV1, **fields: Any) -> dict[str, Any]:
    """Return what CreateQuantumTask takes."""
    place = {"outputS3Bucket": account.bucket, "outputS3KeyPrefix": account.access_key}
    return {"deviceArn": device, "action": ACTION, "shots": 100, **place, **fields}


def refused(code: str, call: Callable[..., Any], **fields: Any) -> str:
    """Return the words in which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**fields)

    assert caught.value.response["Error"]["Code"] == code, caught.value
    return str(caught.value.response["Error"]["Message"])


def statuses(account: Account) -> list[str]:
    return [one["status"] for one in account.tasks()]


# --- what runs --------------------------------------------------------------------------------------------------------


def test_the_sdk_runs_a_circuit(account: Account, session: AwsSession, loop: None) -> None:
    ran = AwsDevice(devices.SV1, session).run(BELL, shots=100, poll_interval_seconds=0.05)
    counts = ran.result().measurement_counts

    assert set(counts) == {"00", "11"}
    assert sum(counts.values()) == 100
    assert ran.metadata()["actionMetadata"] == {"actionType": "braket.ir.openqasm.program"}
    assert ran.result().additional_metadata.simulatorMetadata.executionDuration >= 0


def test_the_result_of_a_program_set_is_many_files(
    account: Account, monkeypatch: pytest.MonkeyPatch, loop: None
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    device = AwsDevice(devices.ANKAA, AwsSession(default_bucket=account.bucket))
    programs = ProgramSet([BELL, Circuit().x(0)], shots_per_executable=10)
    ran = device.run(programs, poll_interval_seconds=0.05)
    entries = [entry.entries[0].counts for entry in ran.result()]
    files = account.keys(ran.metadata()["outputS3Directory"])

    assert (set(entries[0]) <= {"00", "11"}, entries[1]) == (True, {"1": 10})
    assert ran.metadata()["actionMetadata"]["executableCount"] == 2
    assert len(files) == 8


def test_the_sdk_runs_a_hybrid_job(
    account: Account, session: AwsSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "code.py").write_text(
        "from braket.aws import AwsDevice, AwsSession\n"
        "from braket.circuits import Circuit\n"
        "from braket.jobs import get_job_device_arn, save_job_result\n"
        "def go(depth: int):\n"
        "    device = AwsDevice(get_job_device_arn())\n"
        "    task = device.run(Circuit().x(0), shots=5, poll_interval_seconds=0.05)\n"
        "    print('depth is', depth + 1)\n"
        "    save_job_result({'counts': dict(task.result().measurement_counts)})\n"
    )
    job = AwsQuantumJob.create(
        devices.SV1,
        source_module=str(tmp_path / "mine"),
        entry_point="mine.code:go",
        image_uri=account.image,
        role_arn=account.role_arn,
        hyperparameters={"depth": "2"},
        aws_session=session,
    )

    assert job.result(poll_timeout_seconds=60, poll_interval_seconds=0.1) == {"counts": {"1": 5}}
    assert account.tasks()[0]["jobArn"] == job.arn
    logs = account.client("logs")
    lines = logs.filter_log_events(logGroupName="/aws/braket/jobs", logStreamNamePrefix=f"{job.name}/")["events"]
    assert "depth is 3" in [line["message"] for line in lines]


# --- containers -------------------------------------------------------------------------------------------------------


def test_a_container_has_nothing_of_the_one_who_started_it(
    account: Account, braket: Any, waiting: str, tmp_path: Path
) -> None:
    arn = braket.create_job(**request(account, waiting))["jobArn"]
    environment = note_in(tmp_path)
    given = {name for name in environment if name.startswith("AWS_")}
    endpoints = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BRAKET"}

    assert given - endpoints == {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}
    assert not [name for name in environment if name.startswith(("PYTEST", "COVALENT"))]
    assert environment["AMZN_BRAKET_JOB_ARN"] == arn


def test_an_image_has_the_sdk_and_nothing_of_ours(account: Account, braket: Any) -> None:
    names = ("boto3", "braket", "cloudpickle", "covalent_core", "covalent_core_braket")
    code = f"from importlib.util import find_spec\ndef go(): raise ValueError([n for n in {names} if find_spec(n)])"

    assert "ValueError: ['boto3', 'braket', 'cloudpickle']" in result_of(account, braket, code)["failureReason"]


def test_a_cancel_is_told_to_nobody_and_leaves_nobody(
    account: Account, braket: Any, waiting: str, tmp_path: Path
) -> None:
    arn = braket.create_job(**request(account, waiting))["jobArn"]
    pid = note_in(tmp_path)["pid"]
    # The container, what runs first in it, the code and what that has started.
    wait_until(lambda: len(account.processes(arn)) == 4)

    assert braket.cancel_job(jobArn=arn)["cancellationStatus"] == "CANCELLING"
    assert end_of(account)["status"] == "CANCELLED"
    assert not alive(pid)
    assert account.processes(arn) == []
    assert not (tmp_path / "heard").exists()
    assert outputs_of(account) == []


def test_a_second_cancel_of_what_has_ended_is_a_conflict(account: Account, braket: Any) -> None:
    arn = result_of(account, braket, "def go(): pass")["jobArn"]

    assert "COMPLETED" in refused("ConflictException", braket.cancel_job, jobArn=arn)
    assert found(account)["status"] == "COMPLETED"


def test_what_outlives_the_code_is_killed(account: Account, braket: Any) -> None:
    job = result_of(account, braket, "import subprocess\ndef go(): subprocess.Popen(['setsid', 'sleep', '1000'])")

    assert job["status"] == "COMPLETED"
    assert account.processes(job["jobArn"]) == []
    assert outputs_of(account) == ["model.tar.gz"]


def test_what_cannot_be_set_up_has_completed(account: Account, braket: Any) -> None:
    job = result_of(account, braket, b"no archive")

    assert job["status"] == "COMPLETED"
    assert "cannot be unpacked" in job["failureReason"]


def test_code_that_is_not_there_has_completed(account: Account, braket: Any) -> None:
    wanted = request(account)
    account.client("s3").delete_object(Bucket=account.bucket, Key=f"{account.access_key}/a-job/code.tar.gz")
    braket.create_job(**wanted)

    assert "Unable to download code" in end_of(account)["failureReason"]


def test_an_error_of_the_code_is_quoted(account: Account, braket: Any) -> None:
    job = result_of(account, braket, "def go(): raise ValueError('too cold')")

    assert job["status"] == "FAILED"
    assert job["failureReason"] == "AlgorithmError: Job at exit code 1: ValueError: too cold"


def test_requirements_are_looked_for(account: Account, braket: Any) -> None:
    code = archive({"task/__init__.py": "", "task/code.py": "def go(): pass", "task/deep/requirements.txt": "numpy"})

    assert [Path(file).parent.name for file in result_of(account, braket, code)["requirements"]] == ["deep"]


def test_data_and_parameters_come_as_files(account: Account, braket: Any) -> None:
    key = f"{account.access_key}/data/table.csv"
    account.client("s3").put_object(Bucket=account.bucket, Key=key, Body=b"1,2")
    source = {"s3DataSource": {"s3Uri": f"s3://{account.bucket}/{account.access_key}/data"}}
    code = (
        "import os\nfrom pathlib import Path\n"
        "def go(angle: float):\n"
        "    text = Path(os.environ['AMZN_BRAKET_INPUT_DIR'], 'mine', 'table.csv').read_text()\n"
        "    raise ValueError(text, angle / 2)\n"
    )
    fields = {"inputDataConfig": [{"channelName": "mine", "dataSource": source}], "hyperParameters": {"angle": "3"}}

    assert "ValueError: ('1,2', 1.5)" in result_of(account, braket, code, **fields)["failureReason"]


def test_a_job_that_runs_for_too_long_is_killed(account: Account, braket: Any, waiting: str) -> None:
    job = result_of(account, braket, waiting, stoppingCondition={"maxRuntimeInSeconds": 1})

    assert job["status"] == "FAILED"
    assert "MAX_RUNTIME_EXCEEDED" in [event["eventType"] for event in job["events"]]
    assert account.processes(job["jobArn"]) == []


def test_credentials_of_a_role_end(account: Account, braket: Any, waiting: str, tmp_path: Path) -> None:
    braket.create_job(**request(account, waiting))
    address = note_in(tmp_path)["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    account.turn(role_credentials_seconds=0.5)

    with urllib.request.urlopen(address) as answer:
        given = json.load(answer)

    keys = {"aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"]}
    inside = boto3.client("braket", endpoint_url=account.braket, **keys, aws_session_token=given["Token"], config=ONCE)
    assert inside.search_jobs(filters=[])["jobs"][0]["jobName"] == "a-job"
    wait_until(lambda: "ExpiredTokenException" in error_of(inside.search_jobs, filters=[]))


def error_of(call: Callable[..., Any], **fields: Any) -> str:
    try:
        call(**fields)
    except ClientError as error:
        return str(error.response["Error"]["Code"])

    return ""


def test_a_bucket_elsewhere_ends_the_job_before_the_code(account: Account, braket: Any) -> None:
    name = f"elsewhere-{account.access_key.lower()}"
    place = {"LocationConstraint": "eu-west-2"}
    account.client("s3", region="eu-west-2").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    job = result_of(account, braket, "def go(): pass", outputDataConfig={"s3Path": f"s3://{name}/x"})

    assert (job["status"], "startedAt" in job) == ("FAILED", False)
    assert "is in eu-west-2 and the job is in us-east-1" in job["failureReason"]


# --- quotas -----------------------------------------------------------------------------------------------------------


def test_three_jobs_at_once(account: Account, braket: Any) -> None:
    account.turn(hold_jobs=True)
    wanted = [request(account, name=f"job-{number}") for number in range(4)]
    arns = [braket.create_job(**one)["jobArn"] for one in wanted[:3]]
    positions = [braket.get_job(jobArn=arn)["queueInfo"]["position"] for arn in arns]
    text = refused("ServiceQuotaExceededException", braket.create_job, **wanted[3])

    assert positions == ["1", "2", "3"]
    assert "concurrent hybrid jobs" in text
    account.turn(hold_jobs=False)
    end_of(account, "job-0")
    braket.create_job(**wanted[3])


def test_calls_are_counted_as_amazon_does(account: Account, braket: Any) -> None:
    account.turn(speed=0.001)
    wanted = request(account)
    assert all(braket.create_job(**wanted, clientToken="the-same")["jobArn"] for _ in range(5))
    text = refused("ThrottlingException", braket.create_job, **wanted, clientToken="the-same")

    assert text == "Rate exceeded"
    assert account.calls()["CreateJob"] == 6
    account.turn(speed=1000)
    wait_until(lambda: not error_of(braket.create_job, **wanted, clientToken="the-same"))


def test_twenty_tasks_are_cancelled_at_once_and_no_more(account: Account, braket: Any) -> None:
    account.turn(hold_tasks=True, task_cancel_seconds=60, speed=0.001)
    arn = braket.create_quantum_task(**task(account))["quantumTaskArn"]
    errors = [error_of(braket.cancel_quantum_task, quantumTaskArn=arn) for _ in range(21)]

    assert errors == [*[""] * 20, "ThrottlingException"]


def test_accounts_do_not_meet(account: Account, braket: Any) -> None:
    account.turn(speed=0.001)
    other = Account(account.braket, account.aws)
    result_of(account, braket, "def go(): pass")

    assert other.jobs() == []
    assert other.client("braket").search_jobs(filters=[])["jobs"] == []


def test_a_knob_that_is_not_there_is_named(account: Account) -> None:
    with pytest.raises(AssertionError, match="no such knob: patience"):
        account.turn(patience=3)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code", "text", "detail"),
    [
        ({"jobName": "with_underscore"}, "ValidationException", "Invalid request body", "with_underscore"),
        ({"jobName": "j" * 51}, "ValidationException", "Invalid request body", "length of 51"),
        ({"roleArn": "arn:aws:iam::123456789012:role/Mine"}, "AccessDeniedException", "iam:PassRole", ""),
        ({"stoppingCondition": {"maxRuntimeInSeconds": 432_001}}, "ValidationException", "Invalid request body", ""),
        ({"deviceConfig": {"device": devices.GARNET}}, "ValidationException", "device ARN", "us-east-1"),
        (
            {"instanceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGb": 30, "instanceCount": 2}},
            "ServiceQuotaExceededException",
            "quota of 1 for instances per hybrid job",
            "",
        ),
        (
            {"instanceConfig": {"instanceType": "ml.g4dn.xlarge", "volumeSizeInGb": 30}},
            "ServiceQuotaExceededException",
            "quota of 0 for instances of type ml.g4dn.xlarge",
            "",
        ),
    ],
)
def test_a_job_that_does_not_fit_is_refused(
    account: Account, braket: Any, fields: dict[str, Any], code: str, text: str, detail: str
) -> None:
    assert text in refused(code, braket.create_job, **{**request(account), **fields})
    assert detail in account.refusals()[0]["detail"]
    assert account.jobs() == []


@pytest.mark.parametrize("image", ["docker.io/python:3.11", "292282985366.dkr.ecr.us-west-2.amazonaws.com/jobs:1"])
def test_an_image_is_of_ecr_and_of_this_region(account: Account, braket: Any, image: str) -> None:
    wanted = request(account)
    wanted["algorithmSpecification"]["containerImage"] = {"uri": image}

    refused("ValidationException", braket.create_job, **wanted)


def test_a_role_must_be_there(account: Account, braket: Any) -> None:
    wanted = {**request(account), "roleArn": account.role_arn + "-of-nobody"}

    assert "cannot be assumed" in refused("ValidationException", braket.create_job, **wanted)


def test_an_account_must_be_let_in(account: Account, braket: Any) -> None:
    account.turn(account_enabled=False)

    assert "not authorized to use this resource" in refused(
        "AccessDeniedException", braket.create_job, **request(account)
    )


def test_a_limit_of_spending_is_held(account: Account, braket: Any) -> None:
    account.turn(spending_limits_reached=[devices.ARIA])

    assert "spending limit" in refused("ValidationException", braket.create_quantum_task, **task(account, devices.ARIA))
    refused("AccessDeniedException", braket.search_spending_limits, filters=[])


def test_shots_and_actions_must_fit_the_device(account: Account, braket: Any) -> None:
    programs = ProgramSet([BELL, BELL, BELL], shots_per_executable=10).to_ir().json()
    create = braket.create_quantum_task

    assert "doesn't exist" in refused("ValidationException", create, **task(account, outputS3Bucket="nobodys"))
    assert "between 1 and 10000" in refused("ValidationException", create, **task(account, devices.ARIA, shots=0))
    assert "does not support" in refused("ValidationException", create, **task(account, action=programs))
    west = account.client("braket", region="us-west-1", config=ONCE)
    uneven = task(account, devices.ANKAA, action=programs, shots=100)
    assert "divisible" in refused("ValidationException", west.create_quantum_task, **uneven)


# --- lost and late ----------------------------------------------------------------------------------------------------


def test_a_token_makes_one_job(account: Account, braket: Any) -> None:
    account.turn(token_seconds=0.5, speed=1000)
    wanted = request(account)
    first, second = (braket.create_job(**wanted, clientToken="a-token")["jobArn"] for _ in range(2))
    other = {**wanted, "tags": {"other": "body"}}

    assert first == second
    assert "other parameters" in refused("ConflictException", braket.create_job, **other, clientToken="a-token")
    wait_until(lambda: braket.create_job(**wanted, clientToken="a-token")["jobArn"] != first)
    assert len(account.jobs()) == 2


def test_a_token_makes_one_task(account: Account, braket: Any) -> None:
    wanted = task(account, clientToken="a-token")
    first, second = (braket.create_quantum_task(**wanted)["quantumTaskArn"] for _ in range(2))

    assert first == second
    refused("ValidationException", braket.create_quantum_task, **{**wanted, "shots": 7})


def test_an_answer_is_lost(account: Account, braket: Any) -> None:
    account.fail(Fault("CreateJob", "close"))

    with pytest.raises(ConnectionClosedError):
        braket.create_job(**request(account))

    assert len(account.jobs()) == 1


def test_an_answer_is_an_error_though_it_was_done(account: Account, braket: Any) -> None:
    account.fail(Fault("CreateQuantumTask", "500"), Fault("CancelQuantumTask", "ConflictException", accepted=False))
    account.turn(hold_tasks=True)
    refused("500", braket.create_quantum_task, **task(account))
    arn = account.tasks()[0]["quantumTaskArn"]
    refused("ConflictException", braket.cancel_quantum_task, quantumTaskArn=arn)

    assert statuses(account) == ["QUEUED"]


def test_a_request_arrives_late(account: Account, braket: Any) -> None:
    account.fail(Fault("CreateJob", "close", late=0.5))

    with pytest.raises(ConnectionClosedError):
        braket.create_job(**request(account))

    assert account.jobs() == []
    wait_until(account.jobs)


def test_an_answer_does_not_come(account: Account) -> None:
    account.fail(Fault("SearchJobs", "silence", seconds=1, accepted=False))
    impatient = account.client("braket", config=ONCE.merge(Config(read_timeout=0.3)))

    with pytest.raises(ReadTimeoutError):
        impatient.search_jobs(filters=[])


# --- searching --------------------------------------------------------------------------------------------------------


def test_searching_knows_what_was_true(account: Account, braket: Any) -> None:
    account.turn(search_lag_seconds=0.5)
    arn = braket.create_job(**request(account))["jobArn"]
    by_name = [{"name": "jobName", "operator": "EQUAL", "values": ["a-job"]}]

    assert braket.get_job(jobArn=arn)["status"]
    assert braket.search_jobs(filters=by_name)["jobs"] == []
    end_of(account)
    wait_until(lambda: [job["status"] for job in braket.search_jobs(filters=by_name)["jobs"]] == ["COMPLETED"])


def test_pages_and_filters(account: Account, braket: Any) -> None:
    account.turn(hold_tasks=True, page_size=2)
    arns = {braket.create_quantum_task(**task(account))["quantumTaskArn"] for _ in range(5)}
    wait_until(lambda: set(statuses(account)) == {"QUEUED"})
    wanted = [{"name": "status", "operator": "EQUAL", "values": ["QUEUED"]}]
    pages = list(braket.get_paginator("search_quantum_tasks").paginate(filters=wanted))

    assert [len(page["quantumTasks"]) for page in pages] == [2, 2, 1]
    assert {one["quantumTaskArn"] for page in pages for one in page["quantumTasks"]} == arns
    by_tag = [{"name": "tags", "operator": "EQUAL", "values": ["mine"]}]
    refused("ValidationException", braket.search_quantum_tasks, filters=by_tag)


def test_what_has_ended_is_forgotten(account: Account, braket: Any) -> None:
    arn = result_of(account, braket, "def go(): pass")["jobArn"]
    account.turn(forget_seconds=0.0)

    refused("ResourceNotFoundException", braket.get_job, jobArn=arn)
    assert braket.search_jobs(filters=[])["jobs"] == []


def test_what_is_elsewhere_is_not_found(account: Account, braket: Any) -> None:
    arn = braket.create_job(**request(account))["jobArn"]
    west = account.client("braket", region="us-west-2", config=ONCE)

    refused("ResourceNotFoundException", west.get_job, jobArn=arn)
    assert west.search_jobs(filters=[])["jobs"] == []


def test_tags_are_kept(account: Account, braket: Any) -> None:
    arn = braket.create_quantum_task(**task(account, tags={"one": "1", "two": "2"}))["quantumTaskArn"]
    braket.tag_resource(resourceArn=arn, tags={"three": "3"})
    braket.untag_resource(resourceArn=arn, tagKeys=["one"])

    assert braket.list_tags_for_resource(resourceArn=arn)["tags"] == {"two": "2", "three": "3"}


# --- quantum tasks ----------------------------------------------------------------------------------------------------


def test_the_tasks_of_a_cancelled_job_stay(account: Account, braket: Any) -> None:
    account.turn(hold_tasks=True, cancel_seconds=0.6)
    code = (
        "import boto3, os, time\n"
        f"WANTED = {json.dumps(task(account))}\n"
        "def go():\n"
        "    braket = boto3.client('braket')\n"
        "    while True:\n"
        "        braket.create_quantum_task(**WANTED, jobToken=os.environ['AMZN_BRAKET_JOB_TOKEN'])\n"
        "        time.sleep(0.05)\n"
    )
    arn = braket.create_job(**request(account, code))["jobArn"]
    wait_until(lambda: len(account.tasks()) >= 2)
    braket.cancel_job(jobArn=arn)
    before = len(account.tasks())
    assert end_of(account)["status"] == "CANCELLED"

    assert len(account.tasks()) > before
    assert set(statuses(account)) == {"QUEUED"}
    of_job = [{"name": "jobArn", "operator": "EQUAL", "values": [arn]}]
    assert len(braket.search_quantum_tasks(filters=of_job)["quantumTasks"]) == len(account.tasks())


def test_a_job_token_is_worth_nothing_without_its_job(
    account: Account, braket: Any, waiting: str, tmp_path: Path
) -> None:
    arn = braket.create_job(**request(account, waiting))["jobArn"]
    token = note_in(tmp_path)["AMZN_BRAKET_JOB_TOKEN"]
    inside = braket.create_quantum_task(**task(account), jobToken=token)["quantumTaskArn"]
    braket.cancel_job(jobArn=arn)
    end_of(account)

    assert braket.get_quantum_task(quantumTaskArn=inside)["jobArn"] == arn
    assert "job token" in refused("ValidationException", braket.create_quantum_task, **task(account), jobToken=token)


@pytest.mark.parametrize(("device", "ends"), [(devices.SV1, "CANCELLED"), (devices.ARIA, "COMPLETED")])
def test_what_a_qpu_has_begun_it_completes(account: Account, braket: Any, device: str, ends: str) -> None:
    account.turn(task_run_seconds=0.4)
    arn = braket.create_quantum_task(**task(account, device))["quantumTaskArn"]
    wait_until(lambda: statuses(account) == ["RUNNING"])
    braket.cancel_quantum_task(quantumTaskArn=arn)

    assert braket.get_quantum_task(quantumTaskArn=arn)["status"] == "CANCELLING"
    wait_until(lambda: statuses(account) == [ends])
    assert ends in refused("ConflictException", braket.cancel_quantum_task, quantumTaskArn=arn)


def test_a_task_fails_with_a_reason(account: Account, braket: Any) -> None:
    account.turn(task_failure="The device has overheated.")
    arn = braket.create_quantum_task(**task(account))["quantumTaskArn"]
    wait_until(lambda: statuses(account) == ["FAILED"])
    shown = braket.get_quantum_task(quantumTaskArn=arn)

    assert shown["failureReason"] == "The device has overheated."
    assert "actionMetadata" not in shown


def test_a_program_set_that_has_failed_has_results(account: Account) -> None:
    account.turn(task_failure="The device has overheated.")
    programs = ProgramSet([BELL, BELL], shots_per_executable=10).to_ir().json()
    west = account.client("braket", region="us-west-1", config=ONCE)
    west.create_quantum_task(**task(account, devices.ANKAA, action=programs, shots=20))
    wait_until(lambda: statuses(account) == ["FAILED"])
    place = account.tasks()[0]["outputS3Directory"]
    body = account.client("s3").get_object(Bucket=account.bucket, Key=f"{place}/results.json")["Body"].read()
    result = ProgramSetQuantumTaskResult.from_object(ProgramSetTaskResult.parse_raw(body))

    assert sum(result[0].entries[0].counts.values()) == 10
    assert result[1].entries[0].failureMetadata.failureReason == "The device has overheated."


# --- devices and prices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("OFFLINE", "DeviceOfflineException"),
        ("PAUSED", "DeviceOfflineException"),
        ("RETIRED", "DeviceRetiredException"),
    ],
)
def test_a_device_that_takes_nothing(account: Account, braket: Any, status: str, code: str) -> None:
    account.set_device(devices.ARIA, status=status, reason="MAINTENANCE")
    shown = braket.get_device(deviceArn=devices.ARIA)

    assert (shown["deviceStatus"], shown["deviceStatusReason"]["reason"]) == (status, "MAINTENANCE")
    refused(code, braket.create_quantum_task, **task(account, devices.ARIA))
    refused(code, braket.create_job, **request(account, deviceConfig={"device": devices.ARIA}))


def test_a_closed_device_has_a_queue(account: Account, braket: Any) -> None:
    opens = time.time() + 3600
    account.set_device(devices.ARIA, open=False, reason="OUTSIDE_AVAILABILITY_WINDOW", reason_ends=opens, queued=2)
    arn = braket.create_quantum_task(**task(account, devices.ARIA))["quantumTaskArn"]
    wait_until(lambda: statuses(account) == ["QUEUED"])
    shown = braket.get_device(deviceArn=devices.ARIA)

    assert shown["deviceStatus"] == "ONLINE"
    assert shown["deviceStatusReason"]["estimatedEndAt"].timestamp() == pytest.approx(opens, abs=1)
    assert braket.get_quantum_task(quantumTaskArn=arn)["queueInfo"]["position"] == "3"
    account.set_device(devices.ARIA, open=True)
    wait_until(lambda: statuses(account) == ["COMPLETED"])


def test_devices_are_in_their_regions(account: Account, braket: Any) -> None:
    refused("ResourceNotFoundException", braket.get_device, deviceArn=devices.GARNET)
    north = account.client("braket", region="eu-north-1", config=ONCE)

    assert north.get_device(deviceArn=devices.GARNET)["deviceName"] == "Garnet"
    names = {device["deviceName"] for device in braket.search_devices(filters=[])["devices"]}
    assert names == {"SV1", "DM1", "Aria-1", "Harmony"}


@pytest.mark.parametrize(("matches", "times"), [("one", 1), ("none", 0), ("two", 2)])
def test_the_price_list(account: Account, matches: str, times: int) -> None:
    from braket.tracking.pricing import Pricing

    account.turn(prices=matches)
    wanted = {"Region Code": "us-east-1", "DeviceName": "Aria-1", "Product Family": "Quantum Task-Shot"}
    listed = Pricing().price_search(**wanted)

    assert [product["PricePerUnit"] for product in listed] == ["0.03"] * times


# --- the process ------------------------------------------------------------------------------------------------------


def test_it_ends_with_its_last_user_and_so_does_all_that_it_runs(tmp_path: Path, waiting: str) -> None:
    with shared_endpoint(tmp_path / "aws") as first:
        with shared_endpoint(tmp_path / "aws") as second:
            assert second == first

        account = first.account()
        arn = account.client("braket").create_job(**request(account, waiting))["jobArn"]
        wait_until(lambda: len(account.processes(arn)) == 4)
        running = account.processes(arn)

    wait_until(lambda: not any(map(alive, running)))
    wait_until(lambda: not answers(first.braket))


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/test/nobody/state").close()
    except OSError:
        return False

    return True


def test_it_ends_with_who_started_it(waiting: str) -> None:
    reader, writer = os.pipe()

    if (pid := os.fork()) == 0:
        with running_endpoint() as own:
            account = own.account()
            arn = account.client("braket").create_job(**request(account, waiting))["jobArn"]
            wait_until(lambda: len(account.processes(arn)) == 4)
            os.write(writer, json.dumps(account.processes(arn)).encode())
            signal.pause()

    running = json.loads(os.read(reader, 4096))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: not any(map(alive, running)))
