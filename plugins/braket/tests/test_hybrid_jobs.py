"""Electrons as hybrid jobs: quotas, lost answers, what is inside the container, and what a cancel leaves behind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from aws.client import Account
from aws.devices import ARIA
from aws.faults import Fault
from probes import kill_dispatcher, wait_until

import covalent_core as ct
from covalent_core import Job, Status
from covalent_core._model.job import TaskCall
from covalent_core_braket import BraketExecutor, _hybrid_jobs
from covalent_core_braket._states import OPEN

RESERVATION = "arn:aws:braket:us-east-1:123456789012:reservation/one"


@pytest.fixture
def options(account: Account, hybrid: dict[str, Any], home: Path) -> dict[str, Any]:
    return {**hybrid, "s3_prefix": account.access_key, "grace": 0.5, "poll_freq": 2.0}


def dispatch(executor: Any, function: Any, *arguments: Any, **options: Any) -> str:
    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function, **options)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def node(dispatch_id: str, node_id: int = 0) -> dict[str, Any]:
    return ct.get_result(dispatch_id).get_node_result(node_id)


def end(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True)


def left(account: Account) -> list[str]:
    listed = account.client("s3").list_objects_v2(Bucket=account.bucket, Prefix=account.access_key)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def job_of(number: int) -> Job:
    return Job(f"{number:032x}", f"ct-{number:032x}-0-0", 0, (TaskCall(0, "", b"", b""),))


def use(executor: BraketExecutor, function: Callable[[Any], Awaitable[Any]]) -> Any:
    """Call hooks of an executor in this process."""

    async def enter() -> Any:
        async with executor:
            return await function(executor)

    return anyio.run(enter)


# --- what is asked for -----------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_what_the_options_say(account, options) -> None:
    account.turn(hold_jobs=True)
    executor = BraketExecutor(
        **options,
        ecr_image_uri=account.image,
        classical_device="ml.m5.xlarge",
        storage=40,
        time_limit=600,
        quantum_device=ARIA,
        hyperparameters={"depth": "3"},
        input_data={"points": f"s3://{account.bucket}/points"},
        output_s3_uri=f"s3://{account.bucket}/kept",
        reservation_arn=RESERVATION,
        tags={"team": "blue"},
    )
    dispatch_id = dispatch(executor, lambda: 1)
    wait_until(account.jobs)
    (job,) = account.jobs()
    name = job["jobName"]
    location = f"s3://{account.bucket}/{account.access_key}/{name}"

    assert job["roleArn"] == account.role_arn
    assert job["algorithmSpecification"] == {
        "scriptModeConfig": {
            "entryPoint": "covalent_job.agent:main",
            "s3Uri": f"{location}/source.tar.gz",
            "compressionType": "GZIP",
        },
        "containerImage": {"uri": account.image},
    }
    assert (job["instanceConfig"]["instanceType"], job["instanceConfig"]["volumeSizeInGb"]) == ("ml.m5.xlarge", 40)
    assert job["stoppingCondition"] == {"maxRuntimeInSeconds": 600}
    assert job["deviceConfig"] == {"device": ARIA}
    assert job["hyperParameters"] == {"depth": "3"}
    assert job["inputDataConfig"][0]["channelName"] == "points"
    assert job["outputDataConfig"]["s3Path"] == f"s3://{account.bucket}/kept"
    assert job["associations"] == [{"arn": RESERVATION, "type": "RESERVATION_TIME_WINDOW_ARN"}]
    assert job["tags"] == {"team": "blue", "covalent-core": name}
    # A ticket has no underscore, and what AWS takes as a name has 50 characters at most.
    assert len(name) <= 50
    ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    wait_until(lambda: not left(account))


def test_inside_it_is_a_job_of_braket_and_a_task_of_ours(account, options) -> None:
    def look() -> Any:
        import os
        import time

        from braket.jobs import get_hyperparameters, get_job_device_arn, get_job_name

        import covalent_core as ct

        task = ct.current_task()
        settings = (get_job_device_arn(), get_hyperparameters(), get_job_name())
        return *settings, task.dispatch_id, task.deadline - time.time(), "AMZN_BRAKET_JOB_TOKEN" in os.environ

    executor = BraketExecutor(**options, quantum_device=ARIA, hyperparameters={"depth": "3"}, time_limit=500)
    dispatch_id = dispatch(executor, look)
    result = end(dispatch_id)
    assert result.status == Status.COMPLETED, result.error
    device, hyperparameters, name, task, left_seconds, has_token = result.result

    assert (device, hyperparameters, task, has_token) == (ARIA, {"depth": "3"}, dispatch_id, True)
    assert name == account.jobs()[0]["jobName"]
    assert 400 < left_seconds < 501


def test_the_container_installs_nothing_of_ours(account, options) -> None:
    end(dispatch(BraketExecutor(**options), lambda: 1))

    assert [job["requirements"] for job in account.jobs()] == [[]]
    assert account.mistakes() == []


def test_a_broken_archive_is_a_clear_error(account, options, stops) -> None:
    stops.take("before-provision")
    dispatch_id = dispatch(BraketExecutor(**options), lambda: 1)
    stops.wait("before-provision", 40)
    (key,) = [key for key in left(account) if key.endswith("source.tar.gz")]
    account.client("s3").put_object(Bucket=account.bucket, Key=key, Body=b"no archive")
    stops.leave("before-provision")
    error = end(dispatch_id).get_node_result(0)["error"]

    # The container exits with 0 all the same.
    assert account.jobs()[0]["status"] == "COMPLETED"
    assert "its container came to its end and left no result" in error
    assert "cannot be unpacked" in error


def test_a_job_that_ran_for_too_long_is_not_tried_again(account, options) -> None:
    def sleep() -> None:
        import time

        time.sleep(300)

    dispatch_id = dispatch(BraketExecutor(**options, time_limit=2), sleep, retries=2)
    error = end(dispatch_id).get_node_result(0)["error"]

    assert "its time limit was reached" in error
    assert "ask for more with time_limit=" in error
    assert len(account.jobs()) == 1


def test_a_role_that_is_not_there_is_named(account, options) -> None:
    executor = BraketExecutor(**{**options, "braket_job_execution_role_name": "NoSuchRole"})
    result = end(dispatch(executor, lambda: 1))

    assert "NoSuchRole" in result.get_node_result(0)["error"]
    assert account.jobs() == []


def test_a_bucket_that_is_not_there_is_named_and_not_made(account, options) -> None:
    result = end(dispatch(BraketExecutor(**{**options, "s3_bucket_name": "no-such-bucket"}), lambda: 1))

    assert "there is no bucket 'no-such-bucket'" in result.get_node_result(0)["error"]
    names = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    assert "no-such-bucket" not in names
    assert account.calls() == {}


def test_a_bucket_of_another_region_is_refused_before_anything_is_sent(account, options) -> None:
    s3 = account.client("s3", region="eu-west-2")
    name = f"elsewhere-{account.access_key.lower()}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    result = end(dispatch(BraketExecutor(**{**options, "s3_bucket_name": name}), lambda: 1))

    assert "is in eu-west-2 and the jobs are to run in us-east-1" in result.get_node_result(0)["error"]
    assert account.calls() == {}


# --- lost answers ----------------------------------------------------------------------------------------------------


def test_a_hundred_lost_answers_make_a_hundred_jobs(account, options, quick, monkeypatch) -> None:
    account.turn(hold_jobs=True, concurrent_jobs=1000, token_seconds=1.0)
    # Some requests do not even arrive: where a line is used again that was cut.
    monkeypatch.setattr(_hybrid_jobs, "SETTLE_SECONDS", 1.0)

    async def insist(executor: Any, job: Job, location: str) -> str:
        """Ask as the core does."""
        while True:
            while executor._way._account.wait_for("CreateJob"):
                await anyio.sleep(0.01)

            with suppress(ct.errors.BackendUnreachableError):
                return await executor.provision(job, location)

            while isinstance(found := await executor.find(job, location), ct.Perhaps):
                await anyio.sleep(0.05)

            if found is not None:
                return found

    async def lose(executor: Any) -> list[str]:
        handles = []

        for number in range(100):
            account.fail(Fault("CreateJob", "close" if number % 2 else "500"))
            job = job_of(number)
            location = await executor.upload(job, b"")
            handles.append(await insist(executor, job, location))
            # There is room for five.
            account.client("braket").cancel_job(jobArn=handles[-1])

        return handles

    options["braket_job_execution_role_name"] = account.role_arn
    handles = use(BraketExecutor(**options), lose)

    assert [job["jobArn"] for job in account.jobs()] == handles
    assert len({job["jobName"] for job in account.jobs()}) == 100


def test_a_request_that_may_be_on_its_way_is_not_made_again(account, options, quick) -> None:
    account.turn(hold_jobs=True, search_lag_seconds=1e6)

    async def ask(executor: Any) -> Any:
        job = job_of(1)
        location = await executor.upload(job, b"")
        before = await executor.find(job, location)
        await executor.provision(job, location)
        return before, await executor.find(job, location)

    before, after = use(BraketExecutor(**options), ask)

    assert before is None
    assert isinstance(after, ct.Perhaps)


# --- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.long("ten jobs, three at a time")
def test_ten_jobs_under_the_quotas(account, options, tmp_path) -> None:
    def work(number: int) -> int:
        print("number", number)
        return number**2

    executor = BraketExecutor(**options)

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return [ct.electron(work)(number) for number in range(10)]

    dispatch_id = ct.dispatch(workflow)()
    waiting = [False]

    def ended() -> bool:
        result = ct.get_result(dispatch_id)
        texts = [str(result.get_node_result(number)["waiting"]) for _, number in result.nodes()]
        waiting[0] = waiting[0] or any("the backend takes no further job since" in text for text in texts)
        assert sum(job["status"] in OPEN for job in account.jobs()) <= 3
        return result.status.terminal

    wait_until(ended, 200)
    result = end(dispatch_id)
    outputs = [result.get_node_result(number) for name, number in result.nodes() if name.startswith("work")]

    assert result.result == [number**2 for number in range(10)]
    assert [one["stdout"] for one in outputs] == [f"number {number}\n" for number in range(10)]
    assert waiting[0], "nobody was told that there was no room"
    assert len(account.jobs()) == 10
    calls = account.calls()
    print(calls)
    # One look is for all, and a job is asked for alone when its state has changed.
    assert calls.get("GetJob", 0) <= 20


def test_a_job_that_is_held_back_is_cancelled_without_a_call(account, options) -> None:
    account.turn(concurrent_jobs=1, hold_jobs=True)
    first = dispatch(BraketExecutor(**options), lambda: 1)
    wait_until(account.jobs)
    dispatch_id = dispatch(BraketExecutor(**options), lambda: 1)
    wait_until(lambda: "takes no further job" in str(node(dispatch_id)["waiting"]))
    asked = account.calls()["CreateJob"]
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert account.calls()["CreateJob"] == asked
    assert len(account.jobs()) == 1
    ct.cancel(first)
    assert end(first).status == Status.CANCELLED


def test_an_instance_type_of_which_there_are_none_is_an_error(account, options) -> None:
    executor = BraketExecutor(**options, classical_device="ml.p4d.24xlarge")
    error = end(dispatch(executor, lambda: 1, retries=2)).get_node_result(0)["error"]

    assert "the account may have no ml.p4d.24xlarge: ask for more in the console of Service Quotas" in error
    assert account.calls()["CreateJob"] == 1


def test_an_account_that_is_not_enabled_is_told_whom_to_ask(account, options) -> None:
    account.turn(account_enabled=False)
    error = end(dispatch(BraketExecutor(**options), lambda: 1)).get_node_result(0)["error"]

    assert "ask AWS Support to enable Amazon Braket" in error


# --- the end ---------------------------------------------------------------------------------------------------------


def make_tasks(bucket: str, device: str, count: int) -> None:
    """Create quantum tasks, and then one a second."""
    import json
    import os
    import time

    import boto3

    braket = boto3.client("braket")
    program = {"braketSchemaHeader": {"name": "braket.ir.openqasm.program", "version": "1"}}
    program["source"] = "OPENQASM 3.0; qubit[1] q; bit[1] c; h q[0]; c = measure q;"
    made = 0

    while True:
        braket.create_quantum_task(
            deviceArn=device,
            shots=1,
            outputS3Bucket=bucket,
            outputS3KeyPrefix="tasks",
            action=json.dumps(program),
            jobToken=os.environ["AMZN_BRAKET_JOB_TOKEN"],
        )
        made += 1
        time.sleep(0.01 if made < count else 1.0)


@pytest.mark.long("150 quantum tasks, no oftener ended than is allowed")
def test_the_quantum_tasks_of_a_cancelled_job_are_ended(account, options, home, quick) -> None:
    account.turn(hold_tasks=True, cancel_seconds=2.0, page_size=40)
    make_tasks.__module__ = "__main__"
    executor = BraketExecutor(**options)
    dispatch_id = dispatch(executor, make_tasks, account.bucket, ARIA, 150)
    wait_until(lambda: len(account.tasks()) >= 150, 90)
    handle = node(dispatch_id)["job_handle"]
    # By the quotas of a real account it takes a minute; this process is allowed to be quicker.
    kill_dispatcher(home)
    (job,) = account.jobs()
    told: list[str] = []
    ticket = job["jobName"]
    seen = Job(dispatch_id, ticket, 0, (TaskCall(0, "", b"", b""),), grace=0.5, _wait=told.append)
    location = f"s3://{account.bucket}/{account.access_key}/{ticket}"

    async def cancel(one: Any) -> None:
        await one.cancel(seen, location, handle)

    use(executor, cancel)

    assert account.jobs()[0]["status"] in ("CANCELLED", "COMPLETED", "FAILED")
    assert len(account.tasks()) >= 150
    assert len(account.tasks("CANCELLED")) == len(account.tasks())
    assert any("of its quantum tasks are not" in text for text in told)
    # More were refused than is decent if the rate was not kept.
    assert account.calls()["CancelQuantumTask"] < 2 * len(account.tasks())


def test_a_cancelled_job_is_cancelled_at_braket(account, options) -> None:
    """What does not listen to us is ended by Amazon."""

    def sleep() -> None:
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        time.sleep(300)

    dispatch_id = dispatch(BraketExecutor(**options), sleep)
    wait_until(lambda: node(dispatch_id)["stdout"] == "deaf\n")
    ct.cancel(dispatch_id)
    result = end(dispatch_id)

    assert result.status == Status.CANCELLED
    assert account.processes() == []
    assert result.get_node_result(0)["stdout"] == "deaf\n"
    wait_until(lambda: not left(account))


def test_what_a_task_had_written_is_there_though_its_container_was_killed(account, options) -> None:
    def write() -> None:
        import time

        print("so far", flush=True)
        time.sleep(300)

    dispatch_id = dispatch(BraketExecutor(**options), write)
    wait_until(lambda: node(dispatch_id)["stdout"] == "so far\n")
    braket = account.client("braket")
    braket.cancel_job(jobArn=node(dispatch_id)["job_handle"])
    result = end(dispatch_id)

    assert "somebody has cancelled it" in result.get_node_result(0)["error"]
    assert result.get_node_result(0)["stdout"] == "so far\n"


def test_what_a_member_of_a_pack_has_returned_survives_its_container(account, options) -> None:
    def first() -> str:
        return "first"

    def second() -> None:
        import time

        print("second", flush=True)
        time.sleep(300)

    @ct.lattice(executor=BraketExecutor(**options), pack=2)
    def workflow() -> Any:
        ct.electron(first)()
        ct.electron(second)()

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: node(dispatch_id, 1)["stdout"] == "second\n")
    account.client("braket").cancel_job(jobArn=node(dispatch_id)["job_handle"])
    result = end(dispatch_id)

    assert result.get_node_result(0)["output"] == "first"
    assert "somebody has cancelled it" in result.get_node_result(1)["error"]


def test_a_job_in_the_queue_is_cancelled_without_its_grace_period(account, options) -> None:
    account.turn(hold_jobs=True)
    dispatch_id = dispatch(BraketExecutor(**{**options, "grace": 300.0}), lambda: 1)
    wait_until(lambda: "it waits for its turn" in str(node(dispatch_id)["waiting"]))
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert account.jobs()[0]["status"] == "CANCELLED"


def test_an_order_to_end_that_is_refused_is_looked_at_again(account, options) -> None:
    account.turn(hold_jobs=True)
    dispatch_id = dispatch(BraketExecutor(**options), lambda: 1)
    wait_until(lambda: node(dispatch_id)["job_handle"])
    account.fail(Fault("CancelJob", "ConflictException", accepted=True))
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED


def test_the_body_is_the_same_each_time(account, options) -> None:
    async def upload(executor: Any) -> list[Any]:
        found = []

        for _ in range(2):
            location = await executor.upload(job_of(1), b"")
            (key,) = [key for key in left(account) if key.endswith("request.json")]
            body = account.client("s3").get_object(Bucket=account.bucket, Key=key)["Body"].read()
            found.append((location, json.loads(body)))

        return found

    first, second = use(BraketExecutor(**options), upload)

    assert first == second
