"""The suite that every executor must pass, over a real scheduler with two workers, and over one in the dispatcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from covalent_core.testing import ExecutorSuite
from covalent_core_dask import DaskExecutor


class TestOnACluster(ExecutorSuite):
    """The workers are on this machine, so the probes of the suite see what is there."""

    patience = 40.0
    reports_results = True
    reports_output = True

    @pytest.fixture(autouse=True)
    def on(self, scheduler: str) -> None:
        self.address: str | None = scheduler

    def executor(self, folder: Path) -> Any:
        return DaskExecutor(self.address, workdir=str(folder / "far"), grace=0.5)
