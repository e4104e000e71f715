"""One Dask cluster for all tests, one of its own for each that breaks it, and a home for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, kill, shared_cluster
from probes import Stops, arguments_of, ending

from covalent_core._client import spawn
from covalent_core.testing._warm import WarmDispatcher

pytest_plugins = ["budget"]


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a scheduler with two workers; all that were started together share it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    with shared_cluster(folder / "dask") as address:
        yield address


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Return a function that makes a cluster which a test may break."""
    clusters: list[Cluster] = []

    def make(**config: Any) -> Cluster:
        clusters.append(Cluster(tmp_path / f"dask-{len(clusters)}", **config))
        return clusters[-1]

    yield make

    for cluster in clusters:
        cluster.stop()

    # What a test that has failed has left: agents and runners have its folder in their command.
    for process in Path("/proc").glob("[0-9]*"):
        if any(str(tmp_path) in argument for argument in arguments_of(int(process.name))):
            kill([int(process.name)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a store of its own, and so a dispatcher that it may kill."""
    folder = tmp_path / "store"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(spawn, "DetachedProcess", WarmDispatcher)

    with ending(folder):
        yield folder


@pytest.fixture
def stops(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found
