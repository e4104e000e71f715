"""How unkind the endpoint is. Everything is off, or as on AWS, until a test turns it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Knobs:
    """All times are seconds. One that is turned down ends at once what waits for it.

    Attributes:
        start_delay: A job is RUNNABLE for this long before a place is looked for.
        pull_delay: A job is STARTING for this long.
        spawn_delay: The children of an array come this long after SubmitJob.
        hidden_for: A new job is neither described nor listed for this long.
        unlisted_for: A new job is not listed for this long, though it is described.
        forgetful: One in so many ids is left out of every third answer of DescribeJobs; 0 is never.
        remembered_for: An ended job is known for this long; None is for ever.
        summary_lag: ``statusSummary`` of an array is counted anew only when it is older than this.
        termination_delay: An accepted TerminateJob acts after this long.
        ended_stay_runnable: A RUNNABLE job that was cancelled or terminated is flagged, and stays RUNNABLE.
        stop_timeout: From SIGTERM to SIGKILL where the container has no ``stopTimeout``.
        time_limit: Replaces ``attemptDurationSeconds``, whose least is a minute, where a job has one.
        stop_signal: Whether SIGTERM reaches process 1 at all.
        abandoned_for: A terminated job reads FAILED at once, and its processes live on for this long.
        bulk_errors: Every so many-th id of a bulk call comes back in ``errors``; 0 is none.
        bulk_code: The code that it has there.
        bulk_calls: Whether CancelJobs and TerminateJobs exist.
        log_delay: Lines reach CloudWatch this long after they were written.
        log_streams: Whether containers write log streams at all; DescribeJobs names them all the same.
        credentials_for: How long the credentials of a job role live.
    """

    start_delay: float = 0.0
    pull_delay: float = 0.0
    spawn_delay: float = 0.0
    hidden_for: float = 0.0
    unlisted_for: float = 0.0
    forgetful: int = 0
    remembered_for: float | None = None
    summary_lag: float = 0.0
    termination_delay: float = 0.0
    ended_stay_runnable: bool = False
    stop_timeout: float = 30.0
    time_limit: float | None = None
    stop_signal: bool = True
    abandoned_for: float = 0.0
    bulk_errors: int = 0
    bulk_code: str = "ThrottlingException"
    bulk_calls: bool = True
    log_delay: float = 0.0
    log_streams: bool = True
    credentials_for: float = 6 * 3600.0

    def __post_init__(self) -> None:
        self._turned = asyncio.Event()

    def turn(self, **settings: Any) -> None:
        """Set some of them.

        Raises:
            ValueError: There is no such knob.
        """
        known = {field.name for field in fields(self)}

        for name, value in settings.items():
            if name not in known:
                raise ValueError(f"there is no knob {name!r}, only {sorted(known)}")

            setattr(self, name, value)

        self._turned.set()
        self._turned = asyncio.Event()

    def reset(self) -> None:
        """Set all of them to what they were at the start."""
        self.turn(**{field.name: field.default for field in fields(self)})

    async def delay(self, name: str) -> None:
        """Wait as long as this knob says, which may be turned meanwhile."""
        begun = time.monotonic()

        while (left := begun + float(getattr(self, name)) - time.monotonic()) > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._turned.wait(), left)
