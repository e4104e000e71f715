"""A home for each test, a real sshd for all, and a line between them that can be cut."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from far_side import FarSide, Line, options_for, running_far_side

from covalent_core_ssh import SSHExecutor

_core = Path(__file__).parents[3] / "tests" / "conftest.py"
_spec = importlib.util.spec_from_file_location("core_conftest", _core)
_module = importlib.util.module_from_spec(_spec)
sys.modules["core_conftest"] = _module
_spec.loader.exec_module(_module)

# The homes and stops of the tests are those of the core.
home, stops = _module.home, _module.stops


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    with running_far_side(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture
def far(sshd: FarSide, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarSide:
    """Give a test the far side, as seen by somebody who has neither keys nor a configuration nor an agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return sshd


@pytest.fixture
def line(far: FarSide) -> Iterator[Line]:
    opened = Line(far.port)
    yield opened
    opened.close()


@pytest.fixture
def options(far: FarSide, line: Line) -> dict[str, Any]:
    """Return how the far side is reached through the line, with short pauses."""
    return {**options_for(far, line.port), "retry_wait_time": 0.05, "keepalive_interval": 0.5}


@pytest.fixture
def executor(options: dict[str, Any]) -> SSHExecutor:
    return SSHExecutor(**options)
