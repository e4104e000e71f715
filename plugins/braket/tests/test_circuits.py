"""Circuits as quantum tasks: of the device's queue, of lost answers, and of who may be cancelled."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from aws.client import Account
from aws.devices import ARIA, GARNET, HARMONY, SV1
from aws.faults import Fault
from electrons import electrons
from probes import alive, kill_dispatcher, wait_until

import covalent_core as ct
from covalent_core import Job, Status
from covalent_core._model.job import TaskCall
from covalent_core.backend import FOLDER, OUTCOME
from covalent_core_braket import BraketExecutor, _quantum_tasks
from covalent_core_braket.programs import bodies_of, programs_of

if TYPE_CHECKING:
    from covalent_core_braket._quantum_tasks import QuantumTasks

E = electrons()


@pytest.fixture
def far(account: Account, home: Path, tmp_path: Path) -> dict[str, Any]:
    """Return the options of an executor whose circuits are quantum tasks."""
    return {
        "device": SV1,
        "shots": 40,
        "s3_bucket_name": account.bucket,
        "s3_prefix": account.access_key,
        "region": account.region,
        "workdir": str(tmp_path / "work"),
        "grace": 0.5,
        "poll_freq": 2.0,
    }


def dispatch(executor: Any, function: Any, *arguments: Any) -> str:
    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def node(dispatch_id: str) -> dict[str, Any]:
    return ct.get_result(dispatch_id).get_node_result(0)


def left(account: Account) -> list[str]:
    listed = account.client("s3").list_objects_v2(Bucket=account.bucket, Prefix=account.access_key)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def end(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True)


def until_waiting(dispatch_id: str, text: str) -> None:
    wait_until(lambda: text in str(node(dispatch_id)["waiting"]))


def until_created(account: Account, count: int = 1) -> None:
    wait_until(lambda: len(account.tasks()) == count)


def test_a_circuit_is_a_quantum_task_and_its_result_the_output(account, far, tmp_path) -> None:
    result = end(dispatch(BraketExecutor(**far, tags={"team": "blue"}), E.bell))
    (task,) = account.tasks()

    assert result.status == Status.COMPLETED, result.error
    assert sum(result.result.measurement_counts.values()) == 40
    assert set(result.result.measurement_counts) <= {"00", "11"}
    assert result.get_node_result(0)["job_handle"] == task["quantumTaskArn"]
    assert result.get_node_result(0)["stdout"] == "a pair\n"
    assert task["tags"]["team"] == "blue"
    wait_until(lambda: not left(account) and not list((tmp_path / "work").iterdir()))
    assert account.mistakes() == []


def test_a_list_is_quantum_tasks_where_the_device_has_no_program_sets(account, far) -> None:
    result = end(dispatch(BraketExecutor(**far), E.flips, 3))

    assert [dict(one.measurement_counts) for one in result.result] == [{"0": 40}, {"1": 40}, {"0": 40}]
    assert len(account.tasks()) == 3


def test_a_list_is_one_program_set_where_the_device_has_them(account, far) -> None:
    account.set_device(ARIA, program_sets=True)
    result = end(dispatch(BraketExecutor(**{**far, "device": ARIA}), E.flips, 2))

    assert result.status == Status.COMPLETED, result.error
    assert [dict(entry[0].counts) for entry in result.result.entries] == [{"0": 40}, {"1": 40}]
    assert len(account.tasks()) == 1
    assert account.tasks()[0]["shots"] == 80


def test_a_task_in_the_queue_says_its_place_and_is_cancelled(account, far) -> None:
    account.turn(hold_tasks=True)
    dispatch_id = dispatch(BraketExecutor(**far), E.bell)
    until_waiting(dispatch_id, "it waits for its turn")
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert [task["status"] for task in account.tasks()] == ["CANCELLED"]
    wait_until(lambda: not left(account))


def test_what_a_device_brings_to_its_end_is_waited_for(account, far) -> None:
    account.turn(task_run_seconds=6.0, running_tasks_complete=True)
    dispatch_id = dispatch(BraketExecutor(**{**far, "device": ARIA}), E.bell)
    wait_until(lambda: account.tasks("RUNNING"))
    ct.cancel(dispatch_id)

    assert node(dispatch_id)["status"] == Status.CANCELLING
    until_waiting(dispatch_id, "may bring to its end what it has begun")
    assert end(dispatch_id).status == Status.CANCELLED
    assert [task["status"] for task in account.tasks()] == ["COMPLETED"]


def test_a_cancel_while_the_function_runs_ends_it_and_sends_nothing(account, far, tmp_path) -> None:
    dispatch_id = dispatch(BraketExecutor(**far), E.wait, str(tmp_path))
    wait_until((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert not any(map(alive, pids))
    assert "CreateQuantumTask" not in account.calls()


def test_a_function_that_fails_sends_nothing(account, far) -> None:
    result = end(dispatch(BraketExecutor(**far), E.fail))

    assert isinstance(result.get_node_result(0)["exception"].__cause__, ZeroDivisionError)
    assert "CreateQuantumTask" not in account.calls()


@pytest.mark.parametrize("step", ["upload", "provision", "run", "fetch"])
@pytest.mark.parametrize("place", ["before", "during", "after"])
def test_killed_anywhere_it_is_one_task_and_has_its_result(account, far, home, stops, step, place) -> None:
    stops.take(f"{place}-{step}")
    dispatch_id = dispatch(BraketExecutor(**far), E.bell)
    stops.wait(f"{place}-{step}", 60)
    kill_dispatcher(home)
    stops.leave(f"{place}-{step}")

    assert sum(end(dispatch_id).result.measurement_counts.values()) == 40
    assert len(account.tasks()) == 1


@pytest.mark.parametrize("step", ["upload", "provision", "run", "fetch"])
@pytest.mark.parametrize("place", ["before", "during", "after"])
def test_cancelled_anywhere_no_task_is_open(account, far, stops, step, place) -> None:
    account.turn(hold_tasks=step != "fetch" and (place, step) != ("after", "run"))
    stops.take(f"{place}-{step}")
    dispatch_id = dispatch(BraketExecutor(**far), E.bell)
    stops.wait(f"{place}-{step}", 60)
    ct.cancel(dispatch_id)
    stops.leave(f"{place}-{step}")

    assert end(dispatch_id).status == Status.CANCELLED
    assert not account.tasks("CREATED", "QUEUED", "RUNNING", "CANCELLING")
    assert len(account.tasks()) <= 1
    wait_until(lambda: not left(account))


@pytest.mark.long("a lease of ten seconds has to end")
def test_a_function_whose_dispatcher_has_died_ends_and_begins_again(account, far, home, tmp_path) -> None:
    def slow(folder: str) -> Any:
        import os
        import time

        from braket.circuits import Circuit

        first = not os.path.exists(os.path.join(folder, "begun"))
        open(os.path.join(folder, "begun"), "w").write(str(os.getpid()))

        if first:
            time.sleep(300)

        return Circuit().h(0)

    dispatch_id = dispatch(BraketExecutor(**far), slow, str(tmp_path))
    wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
    kill_dispatcher(home)
    pid = int((tmp_path / "begun").read_text())
    wait_until(lambda: not alive(pid))

    assert end(dispatch_id).status == Status.COMPLETED
    assert len(account.tasks()) == 1


@pytest.mark.parametrize("then", ["close", "500"])
def test_a_lost_answer_makes_no_second_task(account, far, then) -> None:
    account.fail(Fault("CreateQuantumTask", then, times=3))
    result = end(dispatch(BraketExecutor(**far), E.bell))

    assert result.status == Status.COMPLETED, result.error
    assert len(account.tasks()) == 1


def prepared(executor: BraketExecutor, job: Job) -> str:
    """Leave what a function that has returned a circuit leaves, and return the location."""
    way = cast("QuantumTasks", executor._way)
    folder = Path(way._processes.files.location(job))
    (folder / FOLDER).mkdir(parents=True)
    options = way._options(job, program_sets=False)
    (folder / "bodies.json").write_text(json.dumps(bodies_of(programs_of(E.bell()), **options)))
    outcome = {"status": "COMPLETED", "error": None, "file": False}
    (folder / FOLDER / f"{job.ticket}.0{OUTCOME}").write_text(json.dumps(outcome) + "\n")
    return str(folder)


async def insist(executor: BraketExecutor, job: Job, location: str) -> str:
    """Ask as the core does."""
    while True:
        with suppress(ct.errors.BackendUnreachableError):
            return await executor.provision(job, location)

        while isinstance(found := await executor.find(job, location), ct.Perhaps):
            await anyio.sleep(0.05)

        if found is not None:
            return found


def test_a_hundred_lost_answers_make_a_hundred_tasks(account, far, quick, monkeypatch) -> None:
    # No token is remembered: only who looks before it asks again makes no second task.
    account.turn(hold_tasks=True, token_seconds=0.0)
    monkeypatch.setattr(_quantum_tasks, "SETTLE_SECONDS", 1.0)

    async def lose() -> list[str]:
        handles = []

        async with BraketExecutor(**far) as executor:
            for number in range(100):
                account.fail(Fault("CreateQuantumTask", "close" if number % 2 else "500"))
                job = Job(f"{number:032x}", f"ct-{number:032x}-0-0", 0, (TaskCall(0, "", b"", b""),))
                handles.append(await insist(executor, job, prepared(executor, job)))

        return handles

    handles = anyio.run(lose)

    assert sorted(task["quantumTaskArn"] for task in account.tasks()) == sorted(handles)
    assert len({task["tags"]["covalent-core"] for task in account.tasks()}) == 100
    assert account.calls()["CreateQuantumTask"] >= 100
    assert account.mistakes() == []


def test_cancelled_members_of_a_list_are_not_sent_again(account, far) -> None:
    account.turn(hold_tasks=True)
    executor = BraketExecutor(**far)

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return [ct.electron(E.bell)() for _ in range(10)]

    dispatch_id = ct.dispatch(workflow)()
    until_created(account, 10)
    ct.cancel(dispatch_id, [0, 4, 9])
    wait_until(lambda: len(account.tasks("CANCELLED")) == 3)
    account.turn(hold_tasks=False)
    result = end(dispatch_id)
    ended = [result.get_node_result(number)["status"] for number in range(10)]

    assert [number for number, status in enumerate(ended) if status == Status.CANCELLED] == [0, 4, 9]
    assert ended.count(Status.COMPLETED) == 7
    assert account.calls()["CreateQuantumTask"] == 10


def test_where_one_of_a_list_has_failed_no_other_stays(account, far) -> None:
    account.turn(hold_tasks=True)
    dispatch_id = dispatch(BraketExecutor(**far), E.flips, 3)
    until_created(account, 3)
    wait_until(lambda: node(dispatch_id)["job_handle"])
    first = node(dispatch_id)["job_handle"].split()[0]
    account.client("braket").cancel_quantum_task(quantumTaskArn=first, clientToken="by-hand")

    assert "somebody has cancelled it" in end(dispatch_id).get_node_result(0)["error"]
    assert len(account.tasks("CANCELLED")) == 3


def test_a_sublattice_on_a_device_is_no_quantum_task(account, far) -> None:
    executor = BraketExecutor(**far)

    @ct.lattice(executor=executor)
    def below() -> Any:
        return ct.electron(E.bell)()

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return below()

    result = end(ct.dispatch(workflow)())

    assert result.status == Status.COMPLETED, result.error
    assert len(account.tasks()) == 1


def test_a_failed_task_says_why(account, far) -> None:
    account.turn(task_failure="the laser is cold")
    result = end(dispatch(BraketExecutor(**far), E.bell))

    assert "the laser is cold" in result.get_node_result(0)["error"]


def test_a_failed_program_set_says_where_its_partial_results_are(account, far) -> None:
    account.set_device(ARIA, program_sets=True)
    account.turn(task_failure="half of it is lost")
    result = end(dispatch(BraketExecutor(**{**far, "device": ARIA}), E.flips, 2))
    error = result.get_node_result(0)["error"]
    place = error[error.index("s3://") :].split()[0]

    assert "half of it is lost" in error
    assert place.endswith("/results.json")
    assert place.removeprefix(f"s3://{account.bucket}/") in left(account)


# --- devices that do not take work now ---------------------------------------------------------------------------


def test_a_device_that_is_closed_has_a_queue_and_says_until_when(account, far) -> None:
    account.set_device(ARIA, open=False, reason="OUTSIDE_AVAILABILITY_WINDOW", window=["14:00:00", "20:00:00"])
    dispatch_id = dispatch(BraketExecutor(**{**far, "device": ARIA}), E.bell)
    until_waiting(dispatch_id, "Aria-1 is closed until 14:00 UTC")
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED


@pytest.mark.parametrize(
    ("reason", "words"), [("MAINTENANCE", "is being maintained"), ("RESERVATION", "is reserved by others")]
)
def test_why_a_device_waits_is_said(account, far, reason, words) -> None:
    account.set_device(ARIA, open=False, reason=reason)
    dispatch_id = dispatch(BraketExecutor(**{**far, "device": ARIA}), E.bell)
    until_waiting(dispatch_id, words)
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED


@pytest.mark.parametrize("status", ["OFFLINE", "PAUSED"])
def test_a_device_that_refuses_may_be_tried_again(account, far, status) -> None:
    account.set_device(ARIA, status=status)
    retrying = ct.electron(E.bell, executor=BraketExecutor(**{**far, "device": ARIA}), retries=1)
    result = end(ct.dispatch(ct.lattice(lambda: retrying()))())

    assert f"Aria-1 is {status.lower()}" in result.get_node_result(0)["error"]
    assert "may be back later" in result.get_node_result(0)["error"]
    assert account.calls()["CreateQuantumTask"] == 2


def test_a_device_that_is_retired_is_not_tried_again(account, far) -> None:
    account.set_device(HARMONY, status="RETIRED")
    retrying = ct.electron(E.bell, executor=BraketExecutor(**{**far, "device": HARMONY}), retries=3)
    result = end(ct.dispatch(ct.lattice(lambda: retrying()))())

    assert "is retired; name another device" in result.get_node_result(0)["error"]
    assert "CreateQuantumTask" not in account.calls()


def test_a_device_of_another_region_is_refused_before_anything_is_sent(account, far) -> None:
    with pytest.raises(ct.errors.ExecutorOptionError, match="device is in eu-north-1 and region is 'us-east-1'"):
        BraketExecutor(**{**far, "device": GARNET})

    # Where the region is that of the profile or the environment, as soon as it is known.
    result = end(dispatch(BraketExecutor(**{**far, "device": GARNET, "region": None}), E.bell))

    assert "device is in eu-north-1 and region is 'us-east-1'" in result.get_node_result(0)["error"]
    assert account.calls() == {}


def test_a_spending_limit_is_an_error_of_the_node(account, far) -> None:
    account.turn(spending_limits_reached=[ARIA])
    result = end(dispatch(BraketExecutor(**{**far, "device": ARIA}), E.bell))

    assert "pending limit" in result.get_node_result(0)["error"]
    assert account.tasks() == []
