"""What something costs: said where it is known, said to be unknown where it is not, and in nobody's way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from aws.client import Account
from aws.devices import ARIA, SV1
from electrons import electrons
from probes import wait_until

import covalent_core as ct
from covalent_core import Usage
from covalent_core_braket import BraketExecutor, costs

E = electrons()


@pytest.fixture(autouse=True)
def fresh() -> None:
    costs._download.cache_clear()


@pytest.fixture
def far(account: Account) -> dict[str, Any]:
    return {"s3_bucket_name": account.bucket, "region": account.region, "shots": 100}


def test_a_task_on_a_qpu_has_a_price_beforehand(far) -> None:
    assert costs.expected(BraketExecutor(device=ARIA, **far), circuits=2) == (
        "2 x 100 shots on Aria-1: 6.60 USD (0.3 a task, 0.03 a shot)"
    )


def test_a_simulator_and_a_job_are_billed_by_time(account, far, hybrid) -> None:
    assert costs.expected(BraketExecutor(device=SV1, **far)) == (
        "a quantum task on SV1 is billed by time: at most 0.0750 USD a minute (3 s at least)"
    )
    assert costs.expected(BraketExecutor(**hybrid)) == (
        "a hybrid job on ml.m5.large is billed by time: at most 0.0019 USD a minute (without its quantum tasks)"
    )
    assert costs.expected(BraketExecutor()) == "nothing: it runs on this machine"


def test_a_reservation_is_billed_by_the_hour(far) -> None:
    reservation = "arn:aws:braket:us-east-1:123456789012:reservation/1"
    said = costs.expected(BraketExecutor(device=ARIA, reservation_arn=reservation, **far))

    assert said == f"nothing besides the reservation {reservation}, which is billed by the hour"


@pytest.mark.parametrize("prices", ["none", "two", "broken"])
def test_what_the_list_does_not_say_is_unknown(account, far, prices) -> None:
    account.turn(prices=prices)
    said = costs.expected(BraketExecutor(device=ARIA, **far))

    assert said.startswith("1 x 100 shots on Aria-1: unknown (the price list ")
    assert ("cannot be had" if prices == "broken" else "has no single price for it") in said


def test_a_list_that_does_not_come_makes_it_unknown(account, far, monkeypatch) -> None:
    account.turn(price_seconds=3.0)
    monkeypatch.setattr(costs, "LIST_SECONDS", 0.2)
    assert "unknown (the price list cannot be had" in costs.expected(BraketExecutor(device=SV1, **far))

    monkeypatch.setenv("BRAKET_PRICE_OFFERS_URL", "http://127.0.0.1:9/")
    assert "unknown (the price list cannot be had" in costs.expected(BraketExecutor(device=SV1, **far))


def test_what_was_billed_is_said_afterwards(account, far, hybrid, home, tmp_path) -> None:
    work = {"workdir": str(tmp_path / "work"), "cleanup": False}
    executors = [BraketExecutor(device=ARIA, **far, **work), BraketExecutor(device=SV1, **far, **work)]
    executors.append(BraketExecutor(**hybrid))

    @ct.lattice
    def workflow() -> Any:
        for executor in executors[:2]:
            ct.electron(E.bell, executor=executor)()

        ct.electron(len, executor=executors[2])("a")

    result = ct.dispatch_sync(workflow)()
    assert result.status == ct.Status.COMPLETED, result.error
    handles = [result.get_node_result(number)["job_handle"] for number in range(3)]
    said = [costs.billed(executor, handle) for executor, handle in zip(executors, handles, strict=True)]

    assert said[0].endswith("1 x 100 shots on Aria-1: 3.30 USD (0.3 a task, 0.03 a shot)")
    assert "SV1: 3.0 s: 0.0038 USD" in said[1]
    assert "ml.m5.large: " in said[2]
    assert said[2].endswith(" USD")


# --- at the nodes ----------------------------------------------------------------------------------------------------


def dispatch(executor: BraketExecutor, function: Any, *arguments: Any) -> str:
    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def usage(dispatch_id: str) -> list[Usage]:
    found = ct.get_result(dispatch_id).get_node_result(0)["usage"]
    assert isinstance(found, list)
    return found


def test_a_node_says_what_its_tasks_on_a_qpu_cost(account, far, home, tmp_path) -> None:
    account.turn(hold_tasks=True)
    far = {**far, "workdir": str(tmp_path / "work")}
    dispatch_id = dispatch(BraketExecutor(device=ARIA, **far), E.flips, 2)
    words = "2 quantum tasks and 200 shots on Aria-1"
    wait_until(lambda: usage(dispatch_id) == [Usage("estimate", Decimal("6.60"), "USD", text=words)])
    account.turn(hold_tasks=False)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == ct.Status.COMPLETED, result.error
    assert usage(dispatch_id) == [Usage("billed", Decimal("6.60"), "USD", text=words)]
    assert f"[cost: billed 6.60 USD ({words})]" in str(result)


def test_a_task_that_a_qpu_brings_to_its_end_is_billed_though_it_is_cancelled(account, far, home, tmp_path) -> None:
    account.turn(task_run_seconds=4.0, running_tasks_complete=True)
    dispatch_id = dispatch(BraketExecutor(device=ARIA, **far, workdir=str(tmp_path / "work")), E.bell)
    wait_until(lambda: account.tasks("RUNNING"))
    ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id, wait=True).status == ct.Status.CANCELLED
    assert [str(one) for one in usage(dispatch_id)] == ["billed 3.30 USD (1 quantum task and 100 shots on Aria-1)"]


def test_a_node_says_what_a_simulator_costs(account, far, home, tmp_path) -> None:
    account.turn(hold_tasks=True)
    dispatch_id = dispatch(BraketExecutor(device=SV1, **far, workdir=str(tmp_path / "work")), E.bell)
    rate = "at most 0.0750 USD a minute (SV1, 3 s at least for each quantum task)"
    wait_until(lambda: list(map(str, usage(dispatch_id))) == [rate])
    account.turn(hold_tasks=False)
    ct.get_result(dispatch_id, wait=True)

    assert str(usage(dispatch_id)[0]).startswith("billed 0.0038 USD (3.0 s of SV1, ")


def test_a_cancelled_task_of_a_simulator_has_an_unknown_cost(account, far, home, tmp_path) -> None:
    account.turn(hold_tasks=True)
    dispatch_id = dispatch(BraketExecutor(device=SV1, **far, workdir=str(tmp_path / "work")), E.bell)
    wait_until(lambda: account.tasks())
    ct.cancel(dispatch_id)
    ct.get_result(dispatch_id, wait=True)

    assert [one.kind for one in usage(dispatch_id)] == ["unknown"]
    assert "nobody says for how long" in usage(dispatch_id)[0].text


def test_a_node_says_what_its_hybrid_job_costs(account, hybrid, home) -> None:
    account.turn(hold_jobs=True)
    dispatch_id = dispatch(BraketExecutor(**hybrid), len, "a")
    rate = "at most 0.0019 USD a minute (ml.m5.large, without quantum tasks)"
    wait_until(lambda: list(map(str, usage(dispatch_id))) == [rate])
    account.turn(hold_jobs=False)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == ct.Status.COMPLETED, result.error
    assert [one.kind for one in usage(dispatch_id)] == ["billed"]
    assert usage(dispatch_id)[0].text.endswith(" s of ml.m5.large, without quantum tasks")


@pytest.mark.parametrize("prices", ["none", "broken", "slow"])
def test_a_list_that_cannot_be_had_blocks_nothing(account, far, home, tmp_path, prices) -> None:
    account.turn(**({"price_seconds": 60.0} if prices == "slow" else {"prices": prices}))
    dispatch_id = dispatch(BraketExecutor(device=ARIA, **far, workdir=str(tmp_path / "work")), E.bell)
    result = ct.get_result(dispatch_id, wait=True)

    assert result.status == ct.Status.COMPLETED, result.error
    # While a list is still waited for nothing is said.
    assert [one.kind for one in usage(dispatch_id)] == ([] if prices == "slow" else ["unknown"])
