"""What every test gets: a home of its own, and at its end no process of that home left alive."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from probes import Stops, processes_of, wait_until

from covalent_core import _spawn


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test an empty home; afterwards end its dispatcher and everything that was started below it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    yield folder

    for pid in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not processes_of(folder))

    for process in _spawn._started:
        process.wait()

    _spawn._started.clear()


@pytest.fixture
def stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found
