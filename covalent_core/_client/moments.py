"""When a dispatch is to start, as a person says it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from math import isfinite

from covalent_core.errors import DispatchError


def not_before(delay: float | timedelta | None, at: datetime | None) -> float | None:
    """Return the moment before which nothing is to start, in seconds since the epoch; None: at once.

    Raises:
        DispatchError: Both are given, or one that says no moment.
    """
    if delay is not None and at is not None:
        raise DispatchError("dispatch takes a delay or a moment `at` which it starts, not both")

    if at is not None:
        return _instant(at)

    return None if delay is None else time.time() + _seconds(delay)


def _seconds(delay: float | timedelta) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay

    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not isfinite(seconds) or seconds < 0:
        raise DispatchError(f"delay is {delay!r}, expected a number of seconds or a timedelta, not below 0")

    return seconds


def _instant(at: datetime) -> float:
    if not isinstance(at, datetime):
        raise DispatchError(f"at is {at!r}, expected a datetime with a time zone")

    if at.utcoffset() is None:
        raise DispatchError(
            f"at is {at.isoformat()}, which is another moment in each time zone; say which: at={at!r}.astimezone() "
            f"is that of this machine"
        )

    return at.timestamp()
