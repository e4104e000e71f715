"""One Docker daemon for all tests of a process, and a home for each that dispatches something."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import docker_daemon, need_docker
from probes import ending

pytest_plugins = ["budget"]


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """Start a daemon; this process and all that it starts use it."""
    need_docker()

    # The path of a socket must be short.
    with (
        tempfile.TemporaryDirectory() as folder,
        docker_daemon(Path(folder)) as address,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DOCKER_HOST", address)
        yield address


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a home of its own; at its end nothing of that home is alive."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))

    with ending(folder):
        yield folder
