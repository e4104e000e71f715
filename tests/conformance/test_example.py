"""The example of the documentation, which authors of plugins begin with, passes the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

import covalent_core as ct
from covalent_core.testing import ExecutorSuite


@pytest.fixture(autouse=True)
def plugins(installed_examples: None) -> None:
    """Install the examples."""


class TestNiceExecutor(ExecutorSuite):
    reports_results = True
    reports_output = True

    def executor(self, folder: Path) -> object:
        return ct.executor.NiceExecutor(folder=str(folder), grace=0.5)

    def reused_handle(self, old: str, new: str) -> str:
        return f"{new.split('.')[0]}.{old.split('.', 1)[1]}"
