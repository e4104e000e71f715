"""The example of the documentation, which authors of plugins begin with, passes the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

import covalent_core as ct
from covalent_core.testing import ExecutorSuite
from covalent_core.testing._bench import Bench
from covalent_core.testing._packs import Packs


@pytest.fixture(autouse=True)
def plugins(installed_examples: None) -> None:
    """Install the examples."""


class TestNiceExecutor(ExecutorSuite):
    reports_results = True
    reports_output = True
    tells_how_to_end = True

    def executor(self, folder: Path) -> object:
        return ct.executor.NiceExecutor(folder=str(folder), grace=0.5)

    def reused_handle(self, old: str, new: str) -> str:
        return f"{new.split('.')[0]}.{old.split('.', 1)[1]}"

    def test_what_a_test_leaves_is_ended_and_released(self, bench: Bench) -> None:
        bench.stops.take("before-cancel")
        bench.work()
        bench.until(bench.begun)
        bench.kill()
        bench.clear()

        assert bench.alive() == []
        assert bench.left() == []


class TestExecutorThatKnowsNothingOfPacks(ExecutorSuite):
    # What is not about packs is shown above.
    locals().update(
        {test: None for test in dir(ExecutorSuite) if test.startswith("test_") and not hasattr(Packs, test)}
    )

    def executor(self, folder: Path) -> object:
        return ct.executor.FolderExecutor(folder=str(folder), grace=0.5)
