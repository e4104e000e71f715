"""A researcher cancels: what runs is really stopped, what waits never starts, the rest goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from probes import alive, processes_with, start_time, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core._runner.processes import children


@ct.electron
def report_and_sleep(folder, name, seconds=60):
    Path(folder, name).write_text(str(os.getpid()))
    time.sleep(seconds)
    return name


@ct.electron
def join(*parts):
    return parts


def pid_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def test_cancelling_a_dispatch_kills_what_runs_and_prevents_the_rest(home: Path, tmp_path: Path) -> None:
    @ct.lattice(executor=ct.executor.LocalExecutor(max_workers=1))
    def workflow(folder):
        return join(report_and_sleep(folder, "first"), report_and_sleep(folder, "second"))

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    pid = pid_in(tmp_path / "first")
    outcome = ct.cancel(dispatch_id, reason="wrong parameters")
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert outcome
    assert str(outcome) == f"Dispatch {dispatch_id} canceled."
    assert [(t.name, t.outcome) for t in outcome.targets] == [
        ("report_and_sleep", "stopping"),
        ("report_and_sleep", "stopping"),
        ("join", "prevented"),
    ]
    assert not alive(pid)
    assert result.status == Status.CANCELLED
    assert result.error == "wrong parameters"
    assert not (tmp_path / "second").exists()
    electrons = [result.get_node_result(node_id) for name, node_id in result.nodes() if "parameter" not in name]
    assert {node["status"] for node in electrons} == {Status.CANCELLED}
    assert {node["error"] for node in electrons} == {"wrong parameters"}
    assert all(node["cancel_requested"] for node in electrons)


def test_cancelling_a_task_stops_it_and_what_is_downstream_and_nothing_else(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def workflow(folder):
        stopped = report_and_sleep(folder, "stopped")
        join(stopped)
        return report_and_sleep(folder, "other", 1)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    pid = pid_in(tmp_path / "stopped")
    outcome = ct.cancel(dispatch_id, task_ids=[0])
    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    ids = {name.partition("(")[0]: node_id for name, node_id in result.nodes()}

    assert str(outcome) == f"Dispatch {dispatch_id}: report_and_sleep(0) canceled."
    assert not alive(pid)
    assert result.status == Status.CANCELLED
    assert result.error == "report_and_sleep(0): Cancelled by user"
    assert result.get_node_result(ids["join"])["status"] == Status.CANCELLED
    assert result.get_node_result(ids["join"])["error"] == "upstream node 0 (report_and_sleep) cancelled"
    assert not result.get_node_result(ids["join"])["cancel_requested"]
    assert "other" in result.get_all_node_outputs().values()

    (cancellation,) = result.get_cancellations()
    assert cancellation["reason"] == "Cancelled by user"
    assert cancellation["client"].endswith(f"(process {os.getpid()})")
    assert cancellation["task_ids"] == [0]
    assert cancellation["targets"] == {0: "stopping"}
    assert result.start_time < cancellation["time"] < result.end_time


def test_a_cancel_that_comes_too_late_says_so(home: Path) -> None:
    @ct.lattice
    def workflow():
        return join(1)

    result = ct.dispatch_sync(workflow)()
    whole, one = ct.cancel(result.dispatch_id), ct.cancel(result.dispatch_id, [0])

    assert not whole
    assert str(whole) == f"Dispatch {result.dispatch_id}: nothing to cancel, it had ended."
    assert not one
    assert [target.outcome for target in one.targets] == ["too late: COMPLETED"]
    assert ct.get_result(result.dispatch_id).status == Status.COMPLETED


def test_a_task_that_asks_can_clean_up(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def careful(folder):
        task = ct.current_task()
        Path(folder, "started").write_text(f"{task.dispatch_id} {task.node_id}")

        try:
            while True:
                ct.checkpoint()
                time.sleep(0.01)
        except ct.TaskCancelledError:
            print("cleaning up")
            Path(folder, "cleaned").write_text(str(task.cancel_requested))
            raise

    @ct.lattice
    def workflow(folder):
        return careful(folder)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    wait_until((tmp_path / "started").exists)
    start = time.monotonic()
    ct.cancel(dispatch_id)

    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    assert result.status == Status.CANCELLED
    assert result.get_node_result(0)["stdout"] == "cleaning up\n"
    assert (tmp_path / "started").read_text() == f"{dispatch_id} 0"
    assert (tmp_path / "cleaned").read_text() == "True"
    assert time.monotonic() - start < 2


def test_a_task_that_does_not_listen_is_killed_when_its_grace_is_over(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def deaf(folder):
        import signal

        signal.signal(signal.SIGTERM, lambda *_: Path(folder, "heard").touch())
        Path(folder, "started").write_text(str(os.getpid()))

        while True:
            time.sleep(0.01)

    @ct.lattice(executor=ct.executor.LocalExecutor(grace=0.5))
    def workflow(folder):
        return deaf(folder)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    pid = pid_in(tmp_path / "started")
    start = time.monotonic()
    ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id).status in (Status.CANCELLING, Status.CANCELLED)
    ct.get_result(dispatch_id, wait=True, timeout=60)

    assert (tmp_path / "heard").exists()
    assert not alive(pid)
    assert 0.5 <= time.monotonic() - start < 5


HOSTILE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def fork_for_ever():
    while True:
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.05)
            os._exit(0)
        os.waitpid(-1, os.WNOHANG)
        time.sleep(0.01)

for place in range(64):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            started = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
            open(f"{sys.argv[1]}/{os.getpid()}.{started}", "w").close()
            fork_for_ever()
        os._exit(0)
time.sleep(60)
"""


@pytest.mark.parametrize("round_", range(3))
def test_nothing_survives_of_a_hostile_task(home: Path, tmp_path: Path, round_: int) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()

    @ct.electron
    def hostile(code, folder):
        subprocess.run([sys.executable, "-c", code, folder], env={**os.environ, "HOSTILE": folder})

    @ct.lattice(executor=ct.executor.LocalExecutor(grace=0))
    def workflow(code, folder):
        return hostile(code, folder)

    dispatch_id = ct.dispatch(workflow)(HOSTILE, str(folder))
    wait_until(lambda: len(list(folder.iterdir())) == 64)
    assert len(processes_with("HOSTILE", str(folder))) > 64

    ct.cancel(dispatch_id)
    ct.get_result(dispatch_id, wait=True, timeout=60)

    assert processes_with("HOSTILE", str(folder)) == []
    # Many processes later a number may be another's.
    assert not any(start_time(int(file.name.split(".")[0])) == file.name.split(".")[1] for file in folder.iterdir())


def test_a_task_whose_supervisor_is_killed_from_outside_leaves_nothing(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def spawn(folder):
        child = subprocess.Popen(["setsid", "sleep", "60"])
        Path(folder, "pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)

    @ct.lattice
    def workflow(folder):
        return spawn(folder)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    wait_until(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2)
    handle = ct.get_result(dispatch_id).get_node_result(0)["job_handle"]
    os.kill(children(int(handle.partition(".")[0]))[0], 9)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.FAILED
    assert "supervised the task was ended by signal 9" in result.get_node_result(0)["error"]
    assert not any(alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_what_a_completed_task_leaves_running_ends_with_it(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def leave_a_child():
        return subprocess.Popen(["sleep", "60"], start_new_session=True).pid

    @ct.lattice
    def workflow():
        return leave_a_child()

    result = ct.dispatch_sync(workflow)()

    assert result.status == Status.COMPLETED
    assert not alive(result.result)
