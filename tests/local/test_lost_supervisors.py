"""Supervisors that are killed: what they leave is ended by their guard, and nothing is said that is not known."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from probes import alive, kill_dispatcher, processes_with, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core._runner.processes import children
from covalent_core._runner.protocol import TAG
from covalent_core.backend.processes import ProcessHandle

REWRITE = """
import ctypes, os, time
libc = ctypes.CDLL(None)
strings = ctypes.POINTER(ctypes.c_void_p).in_dll(libc, "environ")
place = 0
while strings[place]:
    ctypes.memset(strings[place], 0, len(ctypes.string_at(strings[place])))
    place += 1
print(os.getpid(), flush=True)
time.sleep(600)
"""

#: Each prints the process that stays and that does not bear the tag.
COMMANDS = {
    "cleared": ["env", "-i", "sh", "-c", "echo $$; exec sleep 600"],
    "rewritten": [sys.executable, "-I", "-S", "-c", REWRITE],
    "daemon": ["sh", "-c", "env -i setsid sh -c 'echo $$; exec sleep 600' & exit"],
}


@ct.electron
def leaving(folder: Path, command: list[str], polite: bool = False) -> None:
    """Start what is not found by its environment, note it, and stay."""
    if polite:
        signal.signal(signal.SIGTERM, lambda signum, frame: (folder / "told").touch())

    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    (folder / "part").write_text(f"{int(child.stdout.readline())} {os.getpid()}")
    (folder / "part").rename(folder / "pids")

    while True:
        time.sleep(0.01)


class Running:
    """A task that has left something, and the processes that watch it."""

    def __init__(self, folder: Path, command: list[str], polite: bool = False) -> None:
        @ct.lattice
        def workflow(folder: Path) -> None:
            leaving(folder, command, polite)

        self.id = ct.dispatch(workflow)(folder)
        wait_until((folder / "pids").exists)
        self.stray, self.worker = map(int, (folder / "pids").read_text().split())
        wait_until(lambda: self.node()["job_handle"])
        self.handle = ProcessHandle.parse(self.node()["job_handle"])
        self.guard = self.handle.pid
        self.supervisor = children(self.guard)[0]

    def node(self) -> dict[str, object]:
        return ct.get_result(self.id).get_node_result(0)

    def finished(self) -> ct.Result:
        return ct.get_result(self.id, wait=True, timeout=60)

    def kill(self, *pids: int) -> None:
        # Both or none: neither comes to see that the other is gone.
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        for pid in pids:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(kind: str = "cleared", *, polite: bool = False) -> Running:
        started.append(Running(tmp_path, COMMANDS[kind], polite))
        return started[-1]

    yield start

    for running in started:
        with suppress(ProcessLookupError):
            os.kill(running.stray, signal.SIGKILL)


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("with_dispatcher", [False, True])
def test_what_a_killed_supervisor_leaves_is_ended_before_its_task(
    home: Path, run: Callable[..., Running], kind: str, with_dispatcher: bool
) -> None:
    running = run(kind)
    assert running.stray not in processes_with(TAG, running.handle.tag)

    if with_dispatcher:
        kill_dispatcher(home)

    running.kill(running.supervisor)
    result = running.finished()

    assert not alive(running.stray)
    assert result.status == Status.FAILED
    assert "supervised the task was ended by signal 9 (SIGKILL); all that it had started was ended" in result.error
    wait_until(lambda: not list((home / "jobs").glob("*.ended")))


@pytest.mark.parametrize("with_dispatcher", [False, True])
def test_a_supervisor_that_is_killed_in_the_grace_period(
    home: Path, run: Callable[..., Running], tmp_path: Path, with_dispatcher: bool
) -> None:
    running = run("daemon", polite=True)
    ct.cancel(running.id)
    wait_until((tmp_path / "told").exists)

    if with_dispatcher:
        kill_dispatcher(home)

    running.kill(running.supervisor)
    result = running.finished()

    assert not alive(running.stray)
    assert result.status == Status.CANCELLED


def test_a_supervisor_whose_guard_is_killed_ends_its_task_itself(home: Path, run: Callable[..., Running]) -> None:
    running = run("daemon")
    running.kill(running.guard)
    result = running.finished()

    assert not alive(running.stray)
    assert result.status == Status.FAILED
    assert "the process that guards its supervisor was killed" in result.error


def test_of_what_both_have_left_nothing_is_said(home: Path, run: Callable[..., Running]) -> None:
    running = run("cleared")
    running.kill(running.guard, running.supervisor)
    wait_until(lambda: "whether it has left others is not known" in str(running.node()["waiting"]))
    assert running.node()["status"] == Status.RUNNING
    ct.cancel(running.id)
    wait_until(lambda: "CANCELLING since" in str(ct.get_result(running.id)))
    wait_until(lambda: "whether it has left others is not known" in str(ct.get_result(running.id)))
    assert alive(running.stray)
    ct.cancel(running.id, force=True)
    result = running.finished()

    assert result.status == Status.FAILED
    assert "given up by" in str(running.node()["error"])


LOOK_FROM_CONTAINER = """
import sys, time
import covalent_core as ct
ct.cancel(sys.argv[1])
end = time.monotonic() + 20

while "in another container" not in str(ct.get_result(sys.argv[1])):
    assert time.monotonic() < end, ct.get_result(sys.argv[1])
    time.sleep(0.05)

print(ct.get_result(sys.argv[1]).get_node_result(0)["status"])
"""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="only root makes a process id namespace")
def test_a_task_of_another_container_is_not_taken_for_gone(home: Path, run: Callable[..., Running]) -> None:
    running = run("cleared")
    kill_dispatcher(home)
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", LOOK_FROM_CONTAINER]
    looked = subprocess.run([*command, running.id], capture_output=True, text=True, timeout=60)

    assert looked.stdout == "CANCELLING\n", looked.stderr
    assert alive(running.stray)
    assert running.finished().status == Status.CANCELLED
    assert not alive(running.stray)
