"""How long a job is waited for that is over and has left no result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from covalent_core_slurm import _stay
from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._stay import Stay
from covalent_core_slurm._watch import Sight


class SlowCluster:
    """The controller, which is asked in every other look, says that the job is over; its files are seen much later."""

    def __init__(self, state: str) -> None:
        self.watch, self.recalls = SimpleNamespace(look=self._look), SimpleNamespace(ask=self._recall)
        self._record = JobRecord("7", state, "ct-a-1-0")
        self._looks = 0

    async def patiently(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        return await operation()

    async def _look(self, waiter: Any, *, now: bool = False) -> Sight:
        await asyncio.sleep(0.01)
        self._looks += 1
        files = {".ended": 0} if self._looks > 20 else {}
        return Sight(self._record if self._looks % 2 else None, bool(self._looks % 2), files)

    async def _recall(self, job_id: str) -> JobRecord:
        return self._record


@pytest.mark.parametrize(("state", "ended"), [("COMPLETED", True), ("FAILED", False)])
def test_one_that_came_to_its_end_is_waited_for_longer(monkeypatch, state: str, ended: bool) -> None:
    monkeypatch.setattr(_stay, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(_stay, "COMPLETED_SETTLE_SECONDS", 60.0)

    async def see(sight: Sight) -> None:
        pass

    async def wait() -> Sight:
        stay = Stay(SlowCluster(state), "ct-a-1-0", "/w", "7", 30.0)  # type: ignore[arg-type]
        return await stay.until_ended(see)

    sight = asyncio.run(wait())

    assert sight.ended == ended
    assert sight.record is None or sight.record.state == state
