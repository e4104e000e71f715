"""What something costs: said where it is known, said to be unknown where it is not, and in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest
from aws.client import Account
from aws.devices import ARIA, SV1
from electrons import electrons

import covalent_core as ct
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
