"""What every test gets: a home of its own, and at its end no process of that home left alive."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from covalent_core import _spawn


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test an empty home; afterwards end its dispatcher and everything that was started below it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    yield folder

    for pid in processes_of(folder):
        with_suppressed_kill(pid, signal.SIGKILL)

    wait_until(lambda: not processes_of(folder))
    _spawn._started.clear()


def processes_of(home: Path) -> list[int]:
    """Return the live processes whose environment names `home`: an independent look at /proc."""
    wanted = f"COVALENT_CORE_HOME={home}".encode()
    found = []

    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue

    return found


def with_suppressed_kill(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def wait_until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    """Wait until `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds

    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)
