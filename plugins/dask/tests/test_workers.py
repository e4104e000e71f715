"""Workers that are killed, stopped, retired or restarted in the middle of a task: it runs once, and can be ended."""

from __future__ import annotations

from signal import SIGCONT, SIGSTOP, SIGTERM

import pytest
from cluster import Cluster, kill
from probes import wait_until
from work import Work, handle

import covalent_core as ct
from covalent_core import Status


@pytest.fixture
def cluster(own_cluster) -> Cluster:
    cluster: Cluster = own_cluster(**{"distributed.scheduler.worker-ttl": "2s"})
    cluster.start_scheduler()
    return cluster


def leave_at(cluster: Cluster, work: Work, how: str) -> None:
    """Let the worker go that has a task, and another one come."""
    nanny = cluster.pids["first"]
    (worker,) = cluster.worker_pids().values()
    cluster.start_worker("second")
    cluster.wait_for_workers(2)

    if how == "retired":
        with cluster.client() as client:
            client.retire_workers(names=["first"])
    elif how == "told":
        cluster.signal("first", SIGTERM)
    elif how == "stopped":
        kill([worker], SIGSTOP)
    else:
        kill({"worker": [worker], "nanny": [nanny], "both": [nanny, worker]}[how])


@pytest.mark.parametrize("cancel", [False, True])
@pytest.mark.parametrize("how", ["worker", "nanny", "both", "retired", "told"])
def test_a_worker_goes_while_a_task_runs(cluster, home, tmp_path, how: str, cancel: bool) -> None:
    cluster.start_worker("first", nanny=True)
    cluster.wait_for_workers(1)
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    leave_at(cluster, work, how)

    if cancel:
        assert ct.cancel(dispatch_id)
        work.check_cancelled(dispatch_id)
        return

    # The second copy of the guardian has come and found that the job has begun.
    other = work.start("other")
    work.until_begun("0", "other")
    assert ct.get_result(dispatch_id).status == Status.RUNNING
    work.go()
    assert work.end(dispatch_id).result == ["0"]
    assert work.end(other).result == ["other"]
    assert work.begun() == ["0", "other"]
    assert work.left() == []


def test_a_guardian_that_cannot_begin_its_job_says_why(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    handle(dispatch_id)
    (bundle,) = work.folder.glob("ct-*/bundle.pyz")
    bundle.unlink()
    cluster.start_worker("first")
    result = work.end(dispatch_id)
    assert result.status == Status.FAILED
    assert "Dask could not begin the task: the job could not be started" in result.get_node_result(0)["error"]
    assert work.left() == []


def test_a_worker_that_can_start_no_agent_says_so(cluster, home, tmp_path) -> None:
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    handle(dispatch_id)
    # What starts there is no interpreter.
    cluster.start_worker("first", "--preload", "import sys; sys.executable = '/bin/false'")
    result = work.end(dispatch_id)
    assert result.status == Status.FAILED
    assert "the agent has ended with exit code 1" in result.get_node_result(0)["error"]
    assert work.left() == []


def test_a_stopped_worker_that_wakes_up_late_begins_nothing(cluster, home, tmp_path) -> None:
    cluster.start_worker("first", threads=1)
    cluster.wait_for_workers(1)
    work = Work(tmp_path / "a", cluster.address)
    first, second = work.start("first"), work.start("second")
    wait_until(lambda: len(work.begun()) == 1)
    handle(second)
    cluster.signal("first", SIGSTOP)
    # Its time to live is over: what it was to run is run elsewhere.
    cluster.start_worker("second")
    wait_until(lambda: len(work.begun()) == 2)
    cluster.signal("first", SIGCONT)
    third = work.start("third")
    work.until_begun("first", "second", "third")
    work.go()
    assert [work.end(dispatch_id).result for dispatch_id in (first, second, third)] == [
        ["first"],
        ["second"],
        ["third"],
    ]
    assert work.begun() == ["first", "second", "third"]
    assert work.left() == []


def test_a_task_on_a_stopped_worker_is_ended_and_the_others_go_on(cluster, home, tmp_path) -> None:
    cluster.start_worker("first", threads=1)
    cluster.wait_for_workers(1)
    work = Work(tmp_path / "a", cluster.address)
    first = work.start("first")
    work.until_begun("first")
    cluster.start_worker("second")
    cluster.wait_for_workers(2)
    other = work.start("other")
    work.until_begun("first", "other")
    cluster.signal("first", SIGSTOP)
    assert ct.cancel(first)
    assert work.end(first).status == Status.CANCELLED
    assert len(work.living()) == 2
    cluster.signal("first", SIGCONT)
    work.go()
    assert work.end(other).result == ["other"]


def test_a_worker_at_the_end_of_its_lifetime_leaves_its_task_running(cluster, home, tmp_path) -> None:
    cluster.start_worker("first", "--lifetime", "3s", nanny=True)
    cluster.wait_for_workers(1)
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    work.until_begun()
    wait_until(lambda: not cluster.worker_pids())
    cluster.start_worker("second")
    other = work.start("other")
    work.until_begun("0", "other")
    work.go()
    assert work.end(dispatch_id).result == ["0"]
    assert work.end(other).result == ["other"]
    assert work.begun() == ["0", "other"]
