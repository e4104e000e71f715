"""The line to the host is cut: no task is lost, none is run twice, and a cancel is carried out when it is back."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from probes import alive, processes_with, wait_until
from tasks import count, dispatch_one, run_one, runs_in, talk

import covalent_core as ct
from covalent_core import Status
from covalent_core_ssh import SSHExecutor

#: What one job sends and receives is cut at this many places, for each step has its part of it.
PLACES = 20


@contextmanager
def mended_when_cut(line):
    """Mend the line each time it has been cut, after a while."""
    over = threading.Event()
    cuts = []

    def mend():
        while not over.wait(0.005):
            if line.is_cut:
                cuts.append(line.forwarded)
                time.sleep(0.05)
                line.mend()

    thread = threading.Thread(target=mend)
    thread.start()

    try:
        yield cuts
    finally:
        over.set()
        thread.join()


@pytest.mark.long("waits until a silent line is taken for dead")
def test_cut_in_the_middle_of_each_step(line, executor, tmp_path) -> None:
    run_one(executor, abs, 1)
    before = line.forwarded
    run_one(executor, count, tmp_path, 0.0, os.urandom(20_000))
    traffic = line.forwarded - before

    with mended_when_cut(line) as cuts:
        for place in range(PLACES):
            # Not quite to the end: the last bytes are those that nobody waits for.
            line.cut_after(1 + traffic * place * 9 // (PLACES * 10))
            result = run_one(executor, count, tmp_path, 0.0, os.urandom(20_000))

            assert result.result == 20_000, result.error
            assert len(runs_in(tmp_path)) == 2 + place
            wait_until(lambda place=place: len(cuts) == place + 1)


@pytest.mark.long("waits until a silent line is taken for dead")
def test_cut_while_connecting(line, executor, tmp_path) -> None:
    run_one(executor, count, tmp_path)
    login = line.forwarded // 2

    with mended_when_cut(line) as cuts:
        for place in range(4):
            line.cut()
            wait_until(lambda: not line.is_cut)
            line.cut_after(1 + login * place // 4)
            result = run_one(executor, count, tmp_path)

            assert result.status == Status.COMPLETED, result.error
            assert len(runs_in(tmp_path)) == 2 + place

    assert len(cuts) >= 8


@pytest.mark.parametrize("way", ["cut", "freeze"])
def test_gone_for_the_length_of_a_whole_task(far, line, executor, tmp_path, way) -> None:
    dispatch_id = dispatch_one(executor, count, tmp_path, 0.5)
    wait_until(lambda: runs_in(tmp_path))
    (pid,) = runs_in(tmp_path)
    getattr(line, way)()
    wait_until(lambda: not alive(pid))
    assert ct.get_result(dispatch_id).status == Status.RUNNING
    line.mend()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.result == 0, result.error
    assert runs_in(tmp_path) == [pid]


def test_what_a_task_writes_is_seen_while_it_runs_and_again_when_the_line_is_back(line, executor, tmp_path) -> None:
    dispatch_id = dispatch_one(executor, talk, tmp_path)

    def seen() -> str:
        return ct.get_result(dispatch_id).get_node_result(0)["stdout"]

    wait_until(lambda: seen() == "0\n")
    line.cut()
    (tmp_path / "0").touch()
    line.mend()
    wait_until(lambda: seen() == "0\n1\n")
    (tmp_path / "1").touch()
    (tmp_path / "2").touch()

    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.COMPLETED
    assert seen() == "0\n1\n2\n"


def test_a_cancel_while_it_is_cut_is_carried_out_when_it_is_back(far, line, executor, tmp_path) -> None:
    dispatch_id = dispatch_one(executor, count, tmp_path, 60)
    wait_until(lambda: runs_in(tmp_path))
    (pid,) = runs_in(tmp_path)
    line.cut()
    outcome = ct.cancel(dispatch_id)
    wait_until(lambda: (ct.get_result(dispatch_id).get_node_result(0)["cancelling"] or {}).get("error"))
    node = ct.get_result(dispatch_id).get_node_result(0)

    assert outcome
    assert node["status"] == Status.CANCELLING
    assert node["cancelling"]["error"].startswith("BackendUnreachableError: cannot reach ")
    assert alive(pid)

    line.mend()
    ct.cancel(dispatch_id)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.CANCELLED
    assert not alive(pid)
    assert far.runners() == []


def test_the_agent_is_killed_and_another_one_takes_over(far, executor, tmp_path) -> None:
    of_others = agents_of(far)
    dispatch_id = dispatch_one(executor, count, tmp_path, 1)
    wait_until(lambda: runs_in(tmp_path))
    own = agents_of(far) - of_others
    assert len(own) == 2

    for pid in own:
        # The end of one may be that of the other.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.COMPLETED, result.error
    assert len(runs_in(tmp_path)) == 1


def agents_of(far):
    """Return the agent and its nursery."""
    return set(processes_with("COVALENT_CORE_SUPERVISOR", "0" * 32)) & set(far.processes())


def test_a_job_that_has_not_begun_fails_when_the_host_stays_out_of_reach(line, options) -> None:
    run_one(SSHExecutor(**options), abs, 1)
    line.cut()
    result = run_one(SSHExecutor(**options, lease=0, max_workers=3), abs, 1)

    assert result.status == Status.FAILED
    assert "cannot reach" in result.error
    assert result.error.endswith("(attempt 5)")
