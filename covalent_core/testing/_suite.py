"""The suite that every executor must pass: what its author says, and the fixture of its tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covalent_core._client import spawn
from covalent_core._home import find_home
from covalent_core.testing._backend import Backend
from covalent_core.testing._bench import Bench
from covalent_core.testing._cancelling import Cancelling
from covalent_core.testing._packs import Packs
from covalent_core.testing._probes import Stops, ending, processes_about, start_time
from covalent_core.testing._results import Results
from covalent_core.testing._silence import Silence
from covalent_core.testing._warm import WarmDispatcher


# pytest begins with the last of them: the simplest tests come first.
class ExecutorSuite(Silence, Packs, Backend, Cancelling, Results):
    """The tests that an executor must pass. Subclass it, and say how an executor is made.

    ::

        class TestMyExecutor(ExecutorSuite):
            def executor(self, folder):
                return MyExecutor(workdir=str(folder), grace=0.5)

    The executor must be installed, since the tests use it as a user does. Its tasks must be able to write into
    `folder`, under the same path. What is alive and what is left is found out by `alive` and `left`, which look at this
    machine; override them with probes of your own if your backend is another one. They must not ask the executor, and
    look only for what belongs to the folder of the test: what another test has left is not this one's.

    Attributes:
        patience: Seconds that anything may take at most.
        reports_results: Whether the executor calls `Job.report_results`, so that what a member of a pack has returned
            can be seen while others run.
        reports_output: Whether it calls `Job.report_output`, so that what a task writes can be seen while it runs.
        tells_how_to_end: Whether it passes on why a job is to be ended, and within how many seconds.
        has_files: Whether a small job has files while it runs, or whatever else `left` must see then.
    """

    patience = 60.0
    reports_results = False
    reports_output = False
    tells_how_to_end = False
    has_files = True

    def executor(self, folder: Path) -> Any:
        """Return a new executor that keeps its files below `folder`, with a short grace period if it has one."""
        raise NotImplementedError(f"{type(self).__name__} must override executor(folder)")

    def alive(self, ticket: str, noted: list[str]) -> list[str]:
        """Return what is alive of a job: empty, or whatever tells you in a failed test what that is.

        Default: the noted processes that live, and those of this machine that have the ticket in their command line or
        in the path of the directory in which they run.

        Args:
            noted: What tasks have noted of themselves and of their children, each as ``<process id>.<start time>``.
        """
        living = [process for process in noted if start_time(int(process.split(".")[0])) == process.split(".")[1]]
        return living + [f"{pid}.{start_time(pid)}" for pid in processes_about(ticket)]

    def left(self, folder: Path) -> list[str]:
        """Return what files of jobs are left. Default: those below `folder` and the home that have a ticket's name."""
        folders = (folder, find_home().jobs)
        return sorted(str(file) for folder in folders for file in folder.rglob("*") if "ct-" in file.name)

    def reused_handle(self, old: str, new: str) -> str:
        """Return the handle of a job that has ended as it looks if the backend gave its number to a new job.

        Override it if your backend does that: a process id with another start time, for example. Default: `old`.
        """
        return old

    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
        """Give a test a home of its own; at its end nothing of that home is alive."""
        home, stops = tmp_path / "home", Stops(tmp_path / "stops")
        monkeypatch.setenv("COVALENT_CORE_HOME", str(home))
        monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
        monkeypatch.setenv("COVALENT_CORE_STOPS", str(stops.folder))
        monkeypatch.setattr(spawn, "DetachedProcess", WarmDispatcher)

        with ending(home):
            bench = Bench(self, tmp_path, stops)
            yield bench
            bench.clear()
