"""What every test gets: a home of its own, and at its end no process of that home left alive."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from probes import Stops, arguments_of, ending, processes_of

import covalent_core
from covalent_core._client import spawn
from covalent_core._executors import installed
from covalent_core.testing._warm import WarmDispatcher

HERE = Path(__file__).parent
PLUGINS = HERE / "plugins"

pytest_plugins = ["budget"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wing", help="run the tests of one wing of the core: store, dispatch, ...")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    wing = config.getoption("wing")

    if wing is None:
        return

    if wing not in wings():
        raise pytest.UsageError(f"--wing {wing}: no such wing has tests of its own; these have: {', '.join(wings())}")

    config.args = [str(HERE / wing)]


def wings() -> list[str]:
    """Return the parts of the core that have a folder of tests; `ground` is what all wings stand on."""
    parts = {path.stem.lstrip("_") for path in Path(covalent_core.__file__).parent.glob("_[a-z]*")} | {"ground"}
    return sorted(folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name in parts)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test an empty home; afterwards end its dispatcher and everything that was started below it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(spawn, "DetachedProcess", WarmDispatcher)

    with ending(folder):
        yield folder
        tell(folder)


def tell(home: Path) -> None:
    """Print what a test leaves; pytest shows it if the test has failed."""
    for pid in processes_of(home):
        print(pid, *arguments_of(pid))

    with suppress(FileNotFoundError):
        print(*sorted(os.listdir(home / "jobs")), sep="\n")
        print((home / "dispatcher.log").read_text())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a test a disk with room for a bundle and little else."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)], capture_output=True)

    if mounted.returncode != 0:
        pytest.skip("only root can make a small disk")

    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found


@pytest.fixture
def installed_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the example executors for this process and for the dispatchers that it starts."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    installed._entry_points.cache_clear()
    yield
    installed._entry_points.cache_clear()
