"""The suite that every executor must pass, over a real Slurm, on its login node and through SSH."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from probes import wait_until

from covalent_core.testing import ExecutorSuite
from covalent_core_slurm import SlurmExecutor


class TestOnTheLoginNode(ExecutorSuite):
    """The nodes are this machine, so the probes of the suite see what is there; the queue is looked at besides."""

    reports_results = True
    reports_output = True
    tells_how_to_end = True

    @pytest.fixture(autouse=True)
    def on(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def executor(self, folder: Path, **options: Any) -> Any:
        self.far, self.commands = folder / "far", folder / "commands"
        own = {"remote_workdir": str(self.far), "slurm_path": str(self.commands), "grace": 0.5, "settle_seconds": 5.0}
        return SlurmExecutor(**own, **options)

    def keeping_executor(self, folder: Path) -> Any:
        return self.executor(folder, cleanup=False)

    @contextmanager
    def _with(self, **scripts: str) -> Iterator[None]:
        """Let commands of Slurm be shell scripts, there and nowhere else."""
        self.commands.mkdir()

        for name, script in scripts.items():
            (self.commands / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.commands / name).chmod(0o755)

        yield
        self.commands.rename(self.commands.with_name("commands-of-before"))

    def hide_from_listing(self, job_handle: str) -> AbstractContextManager[None]:
        return self._with(squeue="exit 0")

    def break_status(self, job_handle: str) -> AbstractContextManager[None]:
        failing = "echo all your jobs are belong to us >&2; exit 3"
        return self._with(squeue=failing, scontrol=failing, sacct=failing)

    @contextmanager
    def rename(self, job_handle: str) -> Iterator[None]:
        self.cluster.run("scontrol", "update", f"JobId={job_handle}", "JobName=mine")
        yield

    @contextmanager
    def fill_disk(self, folder: Path) -> Iterator[None]:
        """Let no file be made where the results belong."""
        (results,) = self.far.glob("ct-*/results")
        before = results.rename(results.with_name("results-of-before"))
        results.touch()
        yield
        results.unlink()
        before.rename(results)

    def alive(self, ticket: str, noted: list[str]) -> list[str]:
        if living := sorted({*noted} & {*super().alive(ticket, noted)}):
            return living

        def settled() -> bool:
            folder = self.far / ticket
            ended = not folder.exists() or os.path.lexists(folder / f"results/{ticket}.ended")
            return not ended or ticket not in self.cluster.living().values()

        # The shell of a job ends some milliseconds after its runner, and the controller hears of it then, which takes
        # seconds where this machine is busy.
        with suppress(AssertionError):
            wait_until(settled, 10)

        return [
            *super().alive(ticket, noted),
            *(name for name in self.cluster.living().values() if name == ticket),
        ]

    def reused_handle(self, old: str, new: str) -> str:
        """Job ids are given again, to another job."""
        return new


class TestThroughSSH(TestOnTheLoginNode):
    """The login node is this machine all the same."""

    @pytest.fixture(autouse=True)
    def through(self, reach: dict[str, Any]) -> None:
        self.options = reach

    def executor(self, folder: Path, **options: Any) -> Any:
        return super().executor(folder, **self.options, **options)
