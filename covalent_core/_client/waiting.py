"""Waiting for something in the store, and keeping a dispatcher alive meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isnan

from covalent_core.errors import DispatchError

#: How often it is looked whether a dispatcher lives, in seconds, and the first and the longest pause between looks.
WAKE_SECONDS, FIRST_PAUSE, LONGEST_PAUSE = 0.5, 0.001, 0.025


def check_timeout(timeout: float | None) -> None:
    """Refuse what is no number of seconds.

    Raises:
        DispatchError: It is not.
    """
    if timeout is not None and isnan(timeout):
        raise DispatchError(f"timeout is {timeout!r}, expected a number of seconds, or None to wait for ever")


def until(condition: Callable[[], bool], timeout: float | None, wake: Callable[[], None]) -> bool:
    """Return True when a condition holds, False if it does not within so many seconds.

    Args:
        wake: Brings a dispatcher back: one that has died is brought back by whoever waits.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause, looked = FIRST_PAUSE, 0.0

    while not condition():
        if time.monotonic() - looked > WAKE_SECONDS:
            wake()
            looked = time.monotonic()

        if deadline is not None and time.monotonic() >= deadline:
            return False

        time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, LONGEST_PAUSE)

    return True
