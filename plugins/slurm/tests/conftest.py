"""One Slurm for all tests, and a home for each that dispatches something."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import far_side
import pytest
from cluster import Cluster, shared_cluster
from commands import SlurmCommands
from far_side import FarSide
from probes import Stops, ending, wait_until

from covalent_core._client import spawn
from covalent_core.testing._warm import WarmDispatcher

pytest_plugins = ["budget"]

#: Modules whose tests have a cluster for themselves, one after the other, by what such a cluster is called. Where many
#: jobs are, everybody who looks has to look through all of them.
ALONE = {"test_controller.py": "second", "test_accounting.py": "second", "test_many.py": "third"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one process run all of such modules, and whoever has time each other test."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ALONE.get(Path(nodeid.partition("::")[0]).name, nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def quick_python() -> Iterator[None]:
    """Let python3 be this one in all jobs, and no script that looks for one first, as version managers have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}")
        yield


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all have who test side by side."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start Slurm; its commands are for everybody who is started from here, and for who logs in."""
    folder = shared_folder(tmp_path_factory) / "slurm"

    with shared_cluster(folder, hurried=True) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.config))
        yield cluster


@pytest.fixture
def cluster(slurm: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Give a test the cluster; afterwards no job of its own may be there."""
    yield slurm
    check_that_none_is_left(slurm, tmp_path)


@pytest.fixture(scope="session")
def second_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start another Slurm, whose controller takes its time as it does everywhere."""
    with shared_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(second_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Give a test a cluster for itself, so that it may stop the controller; afterwards that runs."""
    monkeypatch.setenv("SLURM_CONF", str(second_slurm.config))
    yield second_slurm

    if not second_slurm.answers():
        second_slurm.start_controller()

    check_that_none_is_left(second_slurm, tmp_path)


@pytest.fixture(scope="session")
def third_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start one more Slurm, for many jobs."""
    with shared_cluster(tmp_path_factory.mktemp("slurm"), hurried=True) as cluster:
        yield cluster


@pytest.fixture
def crowded_cluster(third_slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Give a test a cluster where nobody else has to look through its many jobs; afterwards none of them lives."""
    monkeypatch.setenv("SLURM_CONF", str(third_slurm.config))
    yield third_slurm
    check_that_none_is_left(third_slurm, tmp_path)


def check_that_none_is_left(slurm: Cluster, folder: Path) -> None:
    try:
        wait_until(lambda: not slurm.living(folder))
    except AssertionError:
        left = slurm.living(folder)
        slurm.run("scancel", *left)
        raise AssertionError(f"left in the queue: {left}") from None


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
def commands(cluster: Cluster, home: Path, tmp_path: Path) -> SlurmCommands:
    """Give a test the commands of its cluster, to count and to replace."""
    return SlurmCommands(tmp_path / "bin")


@pytest.fixture
def options(commands: SlurmCommands, tmp_path: Path) -> dict[str, Any]:
    """Return options of an executor that uses these, and waits for nothing longer than it must."""
    return {
        "remote_workdir": str(tmp_path / "far"),
        "slurm_path": str(commands.folder),
        "grace": 0.5,
        "settle_seconds": 1,
    }


@pytest.fixture
def stops(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found


@pytest.fixture(scope="session")
def sshd(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    """Start an sshd; who logs in finds Slurm as who is here does."""
    with pytest.MonkeyPatch.context() as patch:
        # As many as sshd allows where nobody has said otherwise.
        config = far_side.CONFIG.replace("MaxSessions 2", "MaxSessions 10")
        patch.setattr(far_side, "CONFIG", config.replace("SetEnv ", f"SetEnv SLURM_CONF={slurm.config} "))

        with far_side.running_far_side(tmp_path_factory.mktemp("far")) as far:
            yield far


@pytest.fixture
def reach(sshd: FarSide) -> dict[str, Any]:
    """Return how the cluster is reached through SSH."""
    options = far_side.options_for(sshd, sshd.port)
    return {"address": options.pop("hostname"), **options}
