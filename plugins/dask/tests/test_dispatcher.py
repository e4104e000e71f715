"""A dispatcher that dies frees nothing: its jobs are held at the scheduler, and begin once."""

from __future__ import annotations

import random
import time

import pytest
from cluster import Cluster, ours
from probes import kill_dispatcher, wait_until
from work import Work, handle, waiting

import covalent_core as ct


def test_a_job_that_waits_in_dask_is_held_for_the_next_dispatcher(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    cluster.start_scheduler()
    cluster.start_worker("plain", threads=1)
    work = Work(tmp_path / "a", cluster.address)
    first = work.start("first")
    work.until_begun("first")
    second = work.start("second")
    key = handle(second)
    wait_until(lambda: "its turn in Dask" in waiting(second) or "a free thread" in waiting(second))
    kill_dispatcher(home)
    # Longer than a scheduler needs to forget what nobody wants.
    time.sleep(2.0)
    assert key in ours(cluster)["tasks"]
    work.go()
    assert ct.get_result(first, wait=True).result == ["first"]
    assert ct.get_result(second, wait=True).result == ["second"]
    assert work.begun() == ["first", "second"]


@pytest.mark.long("kills eight dispatchers, one after the other")
def test_killed_at_any_moment_it_begins_once_and_leaves_nothing_at_the_scheduler(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    cluster.start()
    chance = random.Random(17)

    for number in range(8):
        work = Work(tmp_path / str(number), cluster.address)
        dispatch_id = work.start()
        time.sleep(chance.uniform(0, 0.6))
        kill_dispatcher(home)
        assert not ct.get_result(dispatch_id).status.terminal
        work.until_begun()
        work.go()
        work.check_completed(dispatch_id)

    wait_until(lambda: not any(ours(cluster).values()))
