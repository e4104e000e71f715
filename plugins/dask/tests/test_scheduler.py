"""A scheduler that is killed, stopped or started anew ends nothing, and nothing begins twice."""

from __future__ import annotations

from signal import SIGCONT, SIGSTOP

import pytest
from cluster import Cluster
from probes import kill_dispatcher, wait_until
from work import Work, handle, waiting

import covalent_core as ct
from covalent_core import Status


@pytest.fixture
def cluster(own_cluster) -> Cluster:
    cluster: Cluster = own_cluster(**{"distributed.comm.timeouts.connect": "2s"})
    cluster.start()
    return cluster


@pytest.mark.parametrize("workers", ["the same", "new"])
@pytest.mark.parametrize("cancel", [False, True])
def test_killed_and_started_again_while_a_task_runs(cluster, home, tmp_path, workers: str, cancel: bool) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.kill("scheduler")

    if workers == "new":
        cluster.kill("plain")
        cluster.kill("nannied")

    cluster.start_scheduler()

    if workers == "new":
        cluster.start_worker("another")

    assert ct.get_result(dispatch_id).status == Status.RUNNING
    assert work.living()

    if cancel:
        assert ct.cancel(dispatch_id)
        work.check_cancelled(dispatch_id)
    else:
        work.go()
        work.check_completed(dispatch_id)


def test_killed_while_a_job_waits_it_begins_under_the_next_one(cluster, home, tmp_path) -> None:
    cluster.kill("plain")
    cluster.kill("nannied")
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    handle(dispatch_id)
    cluster.kill("scheduler")
    cluster.start_scheduler()
    cluster.start_worker("another")
    work.until_begun()
    work.go()
    work.check_completed(dispatch_id)


def test_killed_for_long_the_result_comes_and_the_release_says_what_it_waits_for(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.kill("scheduler")
    work.go()
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["status"] == Status.COMPLETED)
    wait_until(lambda: "does not answer" in waiting(dispatch_id))
    assert waiting(dispatch_id).startswith("release failed")
    cluster.start_scheduler()
    work.check_completed(dispatch_id)


def test_stopped_it_delays_nothing_that_has_begun(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    running, other = work.start("running"), work.start("other")
    work.until_begun("running", "other")
    cluster.signal("scheduler", SIGSTOP)
    assert ct.cancel(running)
    wait_until(lambda: len(work.living()) == 2)
    result = ct.get_result(running, wait=True, timeout=60)
    assert result.status == Status.CANCELLED
    waits = work.start("waits")
    cluster.signal("scheduler", SIGCONT)
    work.until_begun("running", "other", "waits")
    work.go()
    assert work.end(other).result == ["other"]
    assert work.end(waits).result == ["waits"]
    assert work.left() == []


def test_the_dispatcher_dies_while_the_scheduler_is_away(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    cluster.kill("scheduler")
    kill_dispatcher(home)
    assert ct.get_result(dispatch_id).status == Status.RUNNING
    cluster.start_scheduler()
    work.go()
    work.check_completed(dispatch_id)
