"""Tasks on hosts whose processes cannot be seen from here: a worker there is asked, or the order left in a file."""

from __future__ import annotations

import os
import time
from signal import SIGSTOP

import pytest
from cluster import Cluster
from probes import kill_dispatcher, wait_until
from work import Work, waiting

import covalent_core as ct
from covalent_core import Status

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may give a process another host name")


@pytest.fixture
def cluster(own_cluster) -> Cluster:
    cluster: Cluster = own_cluster(**{"distributed.scheduler.worker-ttl": "2s"})
    cluster.start_scheduler()
    cluster.start_worker("first", host="first-host")
    cluster.wait_for_workers(1)
    return cluster


def test_a_task_of_another_host_comes_to_its_end(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    work.go()
    work.check_completed(dispatch_id)


def test_a_worker_of_its_host_ends_it(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address, lease=60)
    dispatch_id = work.start()
    work.until_begun()
    assert ct.cancel(dispatch_id)
    work.check_cancelled(dispatch_id)


def test_where_no_worker_answers_it_follows_an_order_in_a_file(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.kill("first")
    cluster.start_worker("second", host="second-host")
    wait_until(lambda: "no Dask worker answers" in waiting(dispatch_id))
    assert ct.get_result(dispatch_id).status == Status.RUNNING
    assert ct.cancel(dispatch_id)
    work.check_cancelled(dispatch_id)


def test_a_lease_ends_what_hears_nothing_any_more(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address, lease=1.0)
    dispatch_id = work.start()
    work.until_begun()
    # Renewed, it goes on.
    time.sleep(2.0)
    assert len(work.living()) == 2
    kill_dispatcher(home)
    wait_until(lambda: not work.living())
    result = work.end(dispatch_id)
    assert result.status == Status.FAILED
    assert "the dispatcher has not been heard for 1 s" in result.get_node_result(0)["error"]
    assert work.left() == []


def test_a_stopped_worker_of_its_host_leaves_the_order_to_the_file(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.signal("first", SIGSTOP)
    cluster.start_worker("second", host="second-host")
    assert ct.cancel(dispatch_id)
    work.check_cancelled(dispatch_id)


def test_its_result_comes_though_no_worker_answers(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.kill("first")
    cluster.start_worker("second", host="second-host")
    cluster.wait_for_workers(1)
    work.go()
    work.check_completed(dispatch_id)
