"""The suite for every misbehaving executor, and for the same executor without a fault; run by test_faults.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from by_hand import HandmadeExecutor, HandmadePacksExecutor, HandmadeTellingExecutor
from misbehaving import FAULTS, KeepingExecutor, ListingExecutor, PatientExecutor, SlowExecutor

from covalent_core.testing import ExecutorSuite


def suite_for(cls: type) -> type[ExecutorSuite]:
    class Suite(ExecutorSuite):
        patience = 5.0
        tells_how_to_end = issubclass(cls, HandmadeTellingExecutor)
        reports_results = issubclass(cls, HandmadePacksExecutor)

        def executor(self, folder: Path) -> object:
            return cls(folder=str(folder), grace=0.5)

        def reused_handle(self, old: str, new: str) -> str:
            return f"{new.split('.')[0]}.{old.split('.')[1]}"

    return Suite


def keeping_suite_for(cls: type) -> type[ExecutorSuite]:
    class Suite(suite_for(cls)):  # type: ignore[misc]
        def keeping_executor(self, folder: Path) -> object:
            return self.executor(folder)

    return Suite


def listing_suite_for(cls: type) -> type[ExecutorSuite]:
    class Suite(suite_for(cls)):  # type: ignore[misc]
        look_seconds = 0.3

        def executor(self, folder: Path) -> object:
            self.folder = folder
            return super().executor(folder)

        @contextmanager
        def _with(self, name: str) -> Iterator[None]:
            (self.folder / name).touch()
            yield
            (self.folder / name).unlink()

        def hide_from_listing(self, job_handle: str) -> object:
            return self._with("hidden")

        def break_status(self, job_handle: str) -> object:
            return self._with("broken")

        def rename(self, job_handle: str) -> object:
            return self._with("renamed")

        @contextmanager
        def show_results_late(self, folder: Path) -> Iterator[None]:
            (results,) = folder.glob("ct-*/results")
            hidden = results.rename(results.with_name("not to be seen yet"))
            yield
            shutil.rmtree(results, ignore_errors=True)
            hidden.rename(results)

        @contextmanager
        def fill_disk(self, folder: Path) -> Iterator[None]:
            """Let no file be made where the results belong."""
            (results,) = folder.glob("ct-*/results")
            results.rename(results.with_name("results before"))
            results.touch()
            yield

    return Suite


def suite_of(cls: type) -> type[ExecutorSuite]:
    if issubclass(cls, ListingExecutor):
        return listing_suite_for(cls)

    return keeping_suite_for(cls) if issubclass(cls, KeepingExecutor) else suite_for(cls)


TestHandmadeExecutor = suite_for(HandmadeExecutor)


class TestBlindToFiles(suite_for(HandmadeExecutor)):  # type: ignore[misc]
    def left(self, folder: Path) -> list[str]:
        return []


TestHandmadePacksExecutor = suite_for(HandmadePacksExecutor)
TestHandmadeTellingExecutor = suite_for(HandmadeTellingExecutor)
TestKeepingExecutor = suite_of(KeepingExecutor)
TestListingExecutor = suite_of(ListingExecutor)
TestSlowExecutor = suite_of(SlowExecutor)
TestPatientExecutor = suite_of(PatientExecutor)
globals().update({f"Test{fault.name}": suite_of(fault.executor) for fault in FAULTS})
