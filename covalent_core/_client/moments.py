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
        return instant("at", at)

    return None if delay is None else time.time() + seconds("delay", delay)


def seconds(name: str, given: float | timedelta) -> float:
    """Return a span of time in seconds.

    Raises:
        DispatchError: It is none.
    """
    found = given.total_seconds() if isinstance(given, timedelta) else given

    if isinstance(found, bool) or not isinstance(found, (int, float)) or not isfinite(found) or found < 0:
        raise DispatchError(f"{name} is {given!r}, expected a number of seconds or a timedelta, not below 0")

    return found


def instant(name: str, given: datetime) -> float:
    """Return a moment in seconds since the epoch.

    Raises:
        DispatchError: It is none, or another one in each time zone.
    """
    if not isinstance(given, datetime):
        raise DispatchError(f"{name} is {given!r}, expected a datetime with a time zone")

    if given.utcoffset() is None:
        raise DispatchError(
            f"{name} is {given.isoformat()}, which is another moment in each time zone; say which: "
            f"{name}={given!r}.astimezone() is that of this machine"
        )

    return given.timestamp()
