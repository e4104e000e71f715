"""The suite that every executor must pass, over a real scheduler with two workers, and over one in the dispatcher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from covalent_core.testing import ExecutorSuite
from covalent_core_dask import DaskExecutor


class TestOnACluster(ExecutorSuite):
    """The workers are on this machine, so the probes of the suite see what is there."""

    reports_results = True
    reports_output = True
    tells_how_to_end = True

    @pytest.fixture(autouse=True)
    def on(self, scheduler: str) -> None:
        self.address: str | None = scheduler

    def executor(self, folder: Path) -> Any:
        return DaskExecutor(self.address, workdir=str(folder / "far"), grace=0.5)

    @contextmanager
    def hide_from_listing(self, job_handle: str) -> Iterator[None]:
        """The scheduler forgets what nobody wants, and whoever may can cancel whatever he wants."""
        from distributed import Client, Future, Variable

        with Client(self.address, set_as_default=False) as client:
            Variable(job_handle, client=client).delete()
            client.cancel([Future(job_handle, client=client)], force=True)
            yield


class TestInTheDispatcher(ExecutorSuite):
    """Scheduler, worker and guardians end with the dispatcher; the jobs do not."""

    reports_results = True
    reports_output = True
    tells_how_to_end = True

    def executor(self, folder: Path) -> Any:
        return DaskExecutor(workdir=str(folder / "far"), grace=0.5, max_workers=16)
