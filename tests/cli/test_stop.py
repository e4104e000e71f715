"""``covalent-core stop`` ends the dispatcher of this home, that process alone, and says what it found."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from probes import alive, dispatchers_of, start_time, wait_until
from tasks import finished, held, let_go, tree

import covalent_core as ct
from covalent_core._client import spawn
from covalent_core._client.spawn import ensure_dispatcher, stop_dispatcher
from covalent_core._home import find_home
from covalent_core._lock import is_served, last_holder, this_process
from covalent_core.errors import DispatcherError


@ct.lattice
def one(folder):
    return held(folder, "task")


def stop() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "covalent_core", "stop"], capture_output=True, text=True)


def test_it_says_that_there_is_none(home: Path) -> None:
    done = stop()

    assert (done.returncode, done.stdout, done.stderr) == (2, f"No dispatcher serves {home}.\n", "")


def test_it_ends_the_dispatcher_and_what_runs_is_taken_up_by_the_next(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(one)(tmp_path)
    task = tree(tmp_path, "task")
    (dispatcher,) = dispatchers_of(home)
    done = stop()

    assert done.returncode == 0, done.stderr
    assert f"process {dispatcher} ({sys.executable}, covalent-core {ct.__version__})" in done.stdout
    assert not is_served(find_home())
    assert all(alive(pid) for pid in task)

    let_go(tmp_path, "task")
    assert finished(dispatch_id).result == "task"
    assert tree(tmp_path, "task") == task


def test_the_lock_names_its_holder_whatever_longer_line_was_there(home: Path) -> None:
    find_home().create()
    find_home().lock.write_text("x" * 1000)
    ensure_dispatcher(find_home())
    (dispatcher,) = dispatchers_of(home)
    # The lock is held a moment before the file says by whom.
    wait_until(lambda: last_holder(find_home()))
    holder = last_holder(find_home())

    assert holder == replace(this_process(), pid=dispatcher, started=start_time(dispatcher))
    wait_until(lambda: find_home().lock.read_text() == json.dumps(asdict(holder)) + "\n")


@pytest.mark.parametrize("said", ["holder", "nothing"])
def test_a_process_that_is_not_the_holder_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(spawn, "STOP_SECONDS", 0.1)
    find_home().create()

    # A process that has got the id of a holder which is gone: in another container, say.
    with subprocess.Popen(["sleep", "600"]) as stranger, open(find_home().lock, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = replace(this_process(), pid=stranger.pid, started="1")
        lock.write(json.dumps(asdict(holder)) if said == "holder" else str(stranger.pid))
        lock.flush()
        words = f"{holder}, cannot be told to end" if said == "holder" else "does not say which process it is"

        with pytest.raises(DispatcherError) as caught:
            stop_dispatcher(find_home())

        assert words in str(caught.value)
        assert str(home) in str(caught.value)
        assert alive(stranger.pid)
        os.kill(stranger.pid, 9)
