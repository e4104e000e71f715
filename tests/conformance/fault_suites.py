"""The suite for every misbehaving executor, and for the same executor without a fault; run by test_faults.py."""

from __future__ import annotations

from pathlib import Path

from covalent_core_nice import NiceExecutor
from covalent_core_nice_packs import NicePacksExecutor
from misbehaving import FAULTS

from covalent_core.testing import ExecutorSuite


def suite_for(cls: type) -> type[ExecutorSuite]:
    class Suite(ExecutorSuite):
        patience = 5.0
        reports_results = issubclass(cls, NicePacksExecutor)

        def executor(self, folder: Path) -> object:
            return cls(folder=str(folder), grace=0.5)

        def reused_handle(self, old: str, new: str) -> str:
            return f"{new.split('.')[0]}.{old.split('.')[1]}"

    return Suite


TestNiceExecutor = suite_for(NiceExecutor)
TestNicePacksExecutor = suite_for(NicePacksExecutor)
globals().update({f"Test{fault.name}": suite_for(fault.executor) for fault in FAULTS})
