"""How often Braket may be asked what, by the quotas that every account has at first."""

from __future__ import annotations

import time

from anyio import sleep


class Rate:
    """So many calls a second, and a number of them at once after a rest.

    Args:
        per_second: Calls a second, in the long run.
        burst: Calls that may come at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._burst = burst
        self._due = 0.0

    def wait(self) -> float:
        """Return for how many seconds the next call would have to wait."""
        return max(0.0, self._next() - time.monotonic())

    async def take(self) -> None:
        """Return when it is allowed to call; each who asks has a turn of its own."""
        self._due = self._next()

        if (pause := self._due - time.monotonic()) > 0:
            await sleep(pause)

    def _next(self) -> float:
        return max(self._due, time.monotonic() - self._burst * self._interval) + self._interval


#: By operation: calls a second, and calls at once.
QUOTAS = {
    "CreateJob": (1, 5),
    "GetJob": (5, 25),
    "SearchJobs": (5, 50),
    "CancelJob": (2, 5),
    "CreateQuantumTask": (20, 40),
    "GetQuantumTask": (100, 500),
    "CancelQuantumTask": (2, 20),
    "SearchQuantumTasks": (5, 50),
    "GetDevice": (5, 50),
}

#: Those of each account that is used, for all executors that use it.
_rates: dict[tuple[str, ...], dict[str, Rate]] = {}


def rates_of(*account: str) -> dict[str, Rate]:
    """Return the rates of an account, in whatever words it is told from others."""
    return _rates.setdefault(account, {operation: Rate(*quota) for operation, quota in QUOTAS.items()})
