"""A cancel waits for no worker: neither for a free one, nor for one that answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from signal import SIGKILL, SIGSTOP
from typing import Any

import pytest
from cluster import Cluster, kill, ours
from probes import alive, wait_until
from work import Work, handle, waiting

import covalent_core as ct
from covalent_core import Status


@pytest.fixture
def busy(own_cluster) -> Cluster:
    """Two workers with a thread each."""
    cluster: Cluster = own_cluster()
    cluster.start(threads=1)
    return cluster


def test_running_and_waiting_ones_end_while_all_workers_are_busy(busy, home, tmp_path) -> None:
    work = Work(tmp_path / "a", busy.address)
    running = [work.start("one"), work.start("two")]
    work.until_begun("one", "two")
    queued = [work.start(f"queued{number}") for number in range(6)]

    for dispatch_id in queued:
        handle(dispatch_id)

    # Those that wait are settled without any worker.
    for dispatch_id in queued[:5]:
        assert ct.cancel(dispatch_id)

    for dispatch_id in queued[:5]:
        assert work.end(dispatch_id).status == Status.CANCELLED

    assert work.begun() == ["one", "two"]
    began = time.monotonic()
    assert ct.cancel(running[0])
    assert work.end(running[0]).status == Status.CANCELLED
    assert len(work.living()) == 2
    # The place is free: what waits begins there.
    work.until_begun("one", "queued5", "two")
    assert time.monotonic() - began < 5
    work.go()
    assert work.end(running[1]).result == ["two"]
    assert work.end(queued[5]).result == ["queued5"]
    wait_until(lambda: not any(ours(busy).values()))


def test_a_task_waits_in_words(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    cluster.start_scheduler()
    work = Work(tmp_path / "a", cluster.address, resources={"GPU": 1})
    dispatch_id = work.start()
    wait_until(lambda: "a Dask worker that has what it asks for" in waiting(dispatch_id))
    cluster.start_worker("plain")
    cluster.start_worker("gpu", "--resources", "GPU=1")
    work.until_begun()
    work.go()
    work.check_completed(dispatch_id)


def test_a_workflow_with_the_executor_of_the_configuration_is_stopped(scheduler, home, tmp_path) -> None:
    """Eleven tasks run at once, one needs one of them, and one that: afterwards nothing ticks."""
    ticks = tmp_path / "ticks"
    options = f'scheduler_address = "{scheduler}"\nworkdir = "{tmp_path / "far"}"\ngrace = 0.5\n'
    (tmp_path / "config.toml").write_text(f"[executors.dask]\n{options}")
    task_1, task_2, task_3 = (ct.electron(task) for task in ticking_tasks(str(ticks)))

    @ct.lattice(executor="dask")
    def workflow(x):
        res_2 = task_2(task_1(10), x)

        for _ in range(10):
            task_1(10)

        task_3(res_2)

    dispatch_id = ct.dispatch(workflow)(5)
    wait_until(lambda: ticks.exists() and len(set(ticks.read_text().split())) == 11)
    processes = [int(pid) for pid in set(ticks.read_text().split())]
    assert ct.cancel(dispatch_id)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    assert result.status == Status.CANCELLED
    size = ticks.stat().st_size
    assert not any(map(alive, processes))
    time.sleep(0.5)
    assert ticks.stat().st_size == size


def ticking_tasks(file: str) -> tuple[Callable[..., Any], ...]:
    def tick(seconds):
        import os
        import time

        end = time.monotonic() + seconds

        while time.monotonic() < end:
            with open(file, "a") as ticks:
                ticks.write(f"{os.getpid()}\n")

            time.sleep(0.05)

    def task_1(x):
        tick(x)
        return x

    def task_2(a, b):
        tick(a + b)
        return a + b

    def task_3(a):
        tick(2)
        return a**2

    return task_1, task_2, task_3


@pytest.mark.parametrize("cancel", [False, True])
def test_a_task_whose_guard_is_killed_is_ended_by_its_supervisor(scheduler, home, tmp_path, cancel: bool) -> None:
    work = Work(tmp_path / "a", scheduler)
    dispatch_id = work.start()
    work.until_begun()
    kill([guard_of(work)], SIGKILL)

    if cancel:
        ct.cancel(dispatch_id)

    result = work.end(dispatch_id)
    assert result.status == Status.CANCELLED if cancel and result.status != Status.FAILED else Status.FAILED
    wait_until(lambda: not any(map(alive, work.processes())))
    assert work.left() == []


@pytest.mark.parametrize("cancel", [False, True])
def test_when_all_who_would_know_were_killed_nothing_is_confirmed(scheduler, home, tmp_path, cancel: bool) -> None:
    work = Work(tmp_path / "a", scheduler)
    dispatch_id = work.start()
    work.until_begun()
    guard = guard_of(work)
    (supervisor,) = children(guard)
    # Neither of them sees that the other one ends.
    kill([supervisor], SIGSTOP)
    kill([guard, supervisor], SIGKILL)

    if cancel:
        ct.cancel(dispatch_id)

    words = "whether it has left others is not known"
    wait_until(lambda: words in waiting(dispatch_id) + str(node(dispatch_id)["cancelling"]))
    assert ct.get_result(dispatch_id).status == (Status.CANCELLING if cancel else Status.RUNNING)
    # What can be found is ended all the same.
    wait_until(lambda: not any(map(alive, work.processes())))
    ct.cancel(dispatch_id, force=True)
    assert work.end(dispatch_id).status == Status.FAILED


def node(dispatch_id: str) -> dict[str, Any]:
    return ct.get_result(dispatch_id).get_node_result(0)


def guard_of(work: Work) -> int:
    (folder,) = (folder for folder in work.folder.glob("ct-*") if folder.is_dir())
    return int(os.readlink(folder / "results" / f"{folder.name}.process").split(".")[0])


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
