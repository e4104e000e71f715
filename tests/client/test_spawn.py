"""What a client does about the dispatcher: it looks at the lock, and at its own child only while that starts."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from probes import dispatchers_of, wait_until
from tasks import held

import covalent_core as ct
from covalent_core import _failures
from covalent_core._client import spawn
from covalent_core._client.spawn import Started, ensure_dispatcher, start_dispatcher
from covalent_core._detached import DetachedProcess
from covalent_core._home import find_home
from covalent_core._lock import is_served, last_holder, this_process
from covalent_core.errors import DispatcherError


@pytest.fixture
def child(home: Path) -> Iterator[DetachedProcess]:
    """Give a process that was started as a dispatcher, lives and holds no lock."""
    find_home().create()
    process = DetachedProcess(["sleep", "600"])
    spawn._started[home] = Started(process, time.monotonic())
    yield process
    process.kill()
    process.wait()


def test_a_child_that_has_given_its_lock_back_is_no_dispatcher(home: Path, child: DetachedProcess) -> None:
    find_home().lock.write_text(json.dumps(asdict(replace(this_process(), pid=child.pid))) + "\n")
    ensure_dispatcher(find_home())

    assert is_served(find_home())
    assert child.poll() is None


def test_a_child_that_still_starts_is_waited_for(home: Path, child: DetachedProcess) -> None:
    find_home().lock.write_text(json.dumps(asdict(this_process())) + "\n")
    start_dispatcher(find_home())

    assert spawn._started[home].process is child
    assert not [pid for pid in dispatchers_of(home) if pid != child.pid]


def test_a_child_that_has_not_come_in_time_is_not_waited_for_again(
    home: Path, child: DetachedProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spawn._started, home, Started(child, time.monotonic() - spawn.START_SECONDS))
    ensure_dispatcher(find_home())

    assert is_served(find_home())


def test_a_dispatcher_that_cannot_be_started_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "DetachedProcess", DetachedProcess)
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(DispatcherError) as caught:
        ensure_dispatcher(find_home())

    process = spawn._started[home].process
    named = f"process {process.pid}, started with /bin/false, ended with exit code 1"
    assert str(caught.value).startswith(f"the dispatcher of {home} cannot be started: {named}. The end of {home}/")


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGKILL])
def test_who_waits_is_told_of_dispatchers_that_are_ended_by_signals(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    killing = f"import os, sys\nif 'serve' in sys.orig_argv: os.kill(os.getpid(), {signum})\n"
    (tmp_path / "sitecustomize.py").write_text(killing)
    monkeypatch.setattr(spawn, "DetachedProcess", DetachedProcess)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    find_home().create()

    with pytest.raises(DispatcherError, match=rf"fails each time it is started \(signal {signum:d}, .*; the next call"):
        ensure_dispatcher(find_home())

    # It is said once: whoever has repaired it need not wait.
    monkeypatch.delenv("PYTHONPATH")
    ensure_dispatcher(find_home())
    assert is_served(find_home())


def test_one_that_is_killed_while_it_serves_is_brought_back_however_often(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "DetachedProcess", DetachedProcess)
    find_home().create()

    for _ in range(3):
        ensure_dispatcher(find_home())
        # One that has just begun serves a moment before it has said who it is.
        wait_until(lambda: (holder := last_holder(find_home())) is not None and holder.signal(signal.SIGKILL))
        wait_until(lambda: not is_served(find_home()))

    assert _failures.repeated(find_home()) is None


def test_one_that_takes_the_lock_at_this_moment_is_not_started_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders: list[int] = []

    class Starting:
        # Of no process.
        pid = 2**30

        def poll(self) -> None: ...

    def look_too_early(_: object) -> bool:
        holders.append(Starting.pid)
        return False

    def has_served(self: Started, _: object) -> bool:
        return self.process.pid in holders

    started = Started(Starting(), time.monotonic())  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Started, "has_served", has_served)
        patch.setattr(spawn, "is_served", look_too_early)
        patch.setitem(spawn._started, find_home().folder, started)
        start_dispatcher(find_home())
        assert spawn._started[find_home().folder] is started


def test_no_dispatcher_serves_from_within_a_task(home: Path) -> None:
    served = subprocess.run(
        [sys.executable, "-m", "covalent_core", "serve"],
        env={**os.environ, "COVALENT_CORE_SUPERVISOR": "1-2-3"},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert served.returncode == 1
    assert served.stderr.startswith("DispatcherError: process ")
    assert f"cannot be the dispatcher of {home}: it is part of a task" in served.stderr
    assert served.stderr.count("\n") == 1


# Python 3.13 made of the one the other.
@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 12345"), OSError("No username set")])
def test_a_user_without_a_name_is_known_by_the_number(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse() -> str:
        raise error

    @ct.lattice
    def workflow(folder):
        return held(folder, "task")

    monkeypatch.setattr(getpass, "getuser", refuse)
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    assert ct.cancel(dispatch_id)

    (cancelled,) = ct.get_result(dispatch_id).get_cancellations()
    assert cancelled["client"].startswith(f"uid {os.getuid()}@")
