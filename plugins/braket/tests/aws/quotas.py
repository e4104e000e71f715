"""Amazon's quotas, as they are for a new account."""

from __future__ import annotations

import threading
import time

from .wire import ApiError

#: Calls a second, and how many may come at once. Source: docs, "Amazon Braket quotas"; SearchDevices is a guess.
RATES = {
    "CreateJob": (1, 5),
    "GetJob": (5, 25),
    "SearchJobs": (5, 50),
    "CancelJob": (2, 5),
    "CreateQuantumTask": (20, 40),
    "GetQuantumTask": (100, 500),
    "CancelQuantumTask": (2, 20),
    "SearchQuantumTasks": (5, 50),
    "GetDevice": (5, 50),
    "SearchDevices": (5, 50),
}

#: How many instances of a kind jobs may have at once. All that are not named here: 5.
INSTANCES = {"ml.g4dn": 0, "ml.p4d": 0, "ml.g6": 5, "ml.g6e": 0, "ml.m5": 5}
INSTANCES_OTHERWISE = 5


class Rates:
    """Buckets that fill up with time: one for each operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, operation: str, speed: float) -> None:
        """Count one call.

        Args:
            speed: By how much faster than Amazon's the buckets fill up; what they hold is the same.

        Raises:
            ApiError: There have been too many.
        """
        rate, burst = RATES.get(operation, (1e9, 10**9))

        with self._lock:
            now = time.monotonic()
            left, since = self._left.get(operation, (float(burst), now))
            left = min(burst, left + (now - since) * rate * speed)
            self._left[operation] = (left - 1 if left >= 1 else left, now)

        if left < 1:
            raise ApiError("ThrottlingException", "Rate exceeded", f"more than {rate * speed:g} {operation} a second")
