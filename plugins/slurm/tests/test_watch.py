"""What the controller is asked, however many wait, and what of its answer is about a job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._watch import Waiter, Watch

#: Where the job has begun.
BEGUN = "/w/begun"


class FakeCluster:
    """What a watch asks, counted."""

    is_here = True

    def __init__(self) -> None:
        self.asked = 0

    async def jobs(self) -> list[JobRecord]:
        self.asked += 1
        return [JobRecord("7", "RUNNING", "ct-a-1-0"), JobRecord("8_1", "PENDING", "ct-a-1-0-array")]

    async def look(self, prefixes: set[str]) -> dict[str, dict[str, int]]:
        return {prefix: {".process": 0} if prefix == BEGUN else {} for prefix in prefixes}


def watched(cluster: FakeCluster) -> Any:
    return Watch(cluster, cluster)  # type: ignore[arg-type]


def test_however_many_are_in_a_hurry_the_controller_is_asked_once() -> None:
    async def look() -> tuple[int, list[Any]]:
        cluster = FakeCluster()
        watch = watched(cluster)
        waiters = [Waiter("ct-a-1-0", "/w/x", job_id="7") for _ in range(500)]
        sights = await asyncio.gather(*(watch.look(waiter, now=True) for waiter in waiters))
        watch.close()
        return cluster.asked, sights

    asked, sights = asyncio.run(look())

    assert asked == 1
    assert {sight.record.job_id for sight in sights} == {"7"}


@pytest.mark.parametrize(
    ("waiter", "state"),
    [
        ({"ticket": "ct-a-1-0", "job_id": "7"}, "RUNNING"),
        ({"ticket": "ct-a-1-0"}, "RUNNING"),
        ({"ticket": "ct-a-5-0", "job_id": "8_1"}, "PENDING"),
        ({"ticket": "ct-a-5-0", "key": "ct-a-1-0-array 1"}, "PENDING"),
        # Slurm knows its array, and not it.
        ({"ticket": "ct-a-6-0", "job_id": "8_2"}, "CANCELLED"),
        ({"ticket": "ct-a-6-0", "job_id": "8_2", "prefix": BEGUN}, None),
        ({"ticket": "ct-b-6-0", "job_id": "8_2"}, None),
        # The numbers belong to others by now.
        ({"ticket": "ct-b-1-0", "job_id": "7"}, None),
        ({"ticket": "ct-b-5-0", "job_id": "8_1"}, None),
        ({"ticket": "ct-a-5-0"}, None),
    ],
)
def test_a_job_is_known_by_its_number_and_by_its_name(waiter: dict[str, str], state: str | None) -> None:
    async def look() -> Any:
        watch = watched(FakeCluster())
        sight = await watch.look(Waiter(**{"prefix": "/w/x", **waiter}), now=True)
        watch.close()
        return sight.record

    record = asyncio.run(look())

    assert (record and record.state) == state
