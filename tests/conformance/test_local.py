"""The local executor passes the suite."""

from __future__ import annotations

from pathlib import Path

from covalent_core.executor import LocalExecutor
from covalent_core.testing import ExecutorSuite


class TestLocalExecutor(ExecutorSuite):
    reports_results = True
    reports_output = True
    tells_how_to_end = True
    # It gives a small job to its worker as a message.
    has_files = False
    # Its workers are children of the dispatcher, and get their orders from it alone.
    late_orders = False

    def executor(self, folder: Path) -> LocalExecutor:
        return LocalExecutor(max_workers=4, workdir=str(folder), grace=0.5)
