"""One sshd and one dispatcher for all tests, a line between them for each, and a dispatcher of its own for who asks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from far_side import FarSide, Line, options_for, running_far_side
from probes import Stops, processes_of, wait_until

from covalent_core._client import spawn
from covalent_core.testing._warm import WarmDispatcher
from covalent_core_ssh import SSHExecutor

pytest_plugins = ["budget"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that at the end nobody waits for it alone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Be somebody who has neither keys nor a configuration nor an agent, with a store that all tests share."""
    folder = tmp_path_factory.mktemp("shared")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        patch.setenv("COVALENT_CORE_HOME", str(folder / "store"))
        patch.setenv("COVALENT_CORE_CONFIG", str(folder / "config.toml"))
        patch.setattr(spawn, "DetachedProcess", WarmDispatcher)
        yield folder
        end_all_of(folder / "store")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a store of its own, and so a dispatcher that it may kill."""
    folder = tmp_path / "store"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    yield folder
    end_all_of(folder)


@pytest.fixture
def stops(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    with running_far_side(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture
def far(sshd: FarSide) -> Iterator[FarSide]:
    """Give a test the far side; afterwards nothing of its jobs may be there."""
    yield sshd

    try:
        wait_until(lambda: not sshd.runners() and not sshd.files())
    except AssertionError:
        raise AssertionError(f"left on the far side: {sshd.runners()} {sshd.files()}") from None
    finally:
        sshd.clear()


@pytest.fixture
def line(far: FarSide) -> Iterator[Line]:
    opened = Line(far.port)
    yield opened
    opened.close()


@pytest.fixture
def options(far: FarSide, line: Line) -> dict[str, Any]:
    """Return how the far side is reached through the line, with short pauses."""
    return {**options_for(far, line.port), "retry_wait_time": 0.05, "keepalive_interval": 0.5, "connect_timeout": 1}


@pytest.fixture
def executor(options: dict[str, Any]) -> SSHExecutor:
    return SSHExecutor(**options)


def end_all_of(home: Path) -> None:
    """Kill all that lives of a home."""
    for pid in processes_of(home):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    wait_until(lambda: not processes_of(home))
