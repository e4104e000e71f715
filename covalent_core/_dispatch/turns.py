"""The turns of the jobs of one executor: who has a worker, who asks its backend next, and who is still coming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from anyio import CapacityLimiter, Lock, current_time, sleep

from covalent_core._dispatch.calls import Calls, ExecutorSource, clock
from covalent_core.errors import NotNow

T = TypeVar("T")


class Shared(ExecutorSource, Protocol):
    """An executor, and the turns of the jobs that want it."""

    turns: Turns


class Turns:
    """Whose turn it is.

    While the backend takes no further job, those that want one ask it one at a time: the first when the pause that the
    backend wants is over, the next as soon as one has been taken.

    Args:
        workers: How many jobs may be between `provision` and the end of `run` at once; None for any number.
    """

    def __init__(self, workers: int | None) -> None:
        self.slots = None if workers is None else CapacityLimiter(workers)
        self._coming: Counter[str] = Counter()
        self._queue = Lock()
        self._queued = 0
        self._held: NotNow | None = None
        self._due = 0.0

    def coming(self, dispatch_id: str) -> int:
        """Return how many jobs of a dispatch are on their way to `provision`."""
        return self._coming[dispatch_id]

    def come(self, dispatch_id: str, count: int) -> None:
        """Know of more jobs that are on their way to `provision`, or of fewer."""
        self._coming[dispatch_id] += count

        if not self._coming[dispatch_id]:
            del self._coming[dispatch_id]

    async def ask(self, calls: Calls, operation: Callable[[], Awaitable[T]]) -> T:
        """Return what an operation of the backend gives, asked again where that says "not now"."""
        while self._held is None:
            try:
                return await operation()
            except NotNow as later:
                self._hold(later)

        return await self._ask_in_turn(calls, operation)

    async def _ask_in_turn(self, calls: Calls, operation: Callable[[], Awaitable[T]]) -> T:
        since = clock()
        self._queued += 1

        try:
            while True:
                calls.report_waiting(f"the backend takes no further job since {since}: {self._held}")

                acquired = False

                try:
                    with calls.interruptible():
                        await self._queue.acquire()
                        acquired = True
                        await sleep(max(0.0, self._due - current_time()))

                    return await operation()
                except NotNow as later:
                    self._hold(later)
                finally:
                    if acquired:
                        self._queue.release()
        finally:
            self._queued -= 1
            calls.report_waiting("")

            if not self._queued:
                self._held = None

    def _hold(self, later: NotNow) -> None:
        self._held = later
        self._due = current_time() + later.retry_after
