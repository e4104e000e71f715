"""Attempts to end something at a backend: made until one is confirmed, with growing pauses, and visible meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator

from anyio import Event, fail_after, move_on_after

from covalent_core._store.database import now
from covalent_core._store.journal import Journal

log = logging.getLogger(__name__)

#: How long one attempt to cancel, find or release may take.
ATTEMPT_SECONDS = 120.0
#: The pauses between attempts: they double from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 60.0


def pauses() -> Iterator[float]:
    """Give the seconds to wait after each attempt, for ever."""
    pause = FIRST_PAUSE

    while True:
        yield pause
        pause = min(2 * pause, LAST_PAUSE)


class Attempts:
    """The attempts to end one job, and how many of them there have been since when."""

    def __init__(self, journal: Journal, ticket: str, since: float | None, count: int) -> None:
        self._journal = journal
        self._ticket = ticket
        self._since = since
        self._count = count
        self._again = Event()

    def hurry(self) -> None:
        """Make the next attempt now."""
        self._again.set()

    async def pause(self, seconds: float) -> None:
        """Wait, unless somebody asks for the next attempt now."""
        with move_on_after(seconds):
            await self._again.wait()

    async def make(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Return when an attempt has succeeded."""
        for pause in pauses():
            self._since = self._since or now()
            self._count += 1
            self._again = Event()
            problem = await self._make_one(attempt)

            if problem or self._count > 1:
                next_at = now() + pause if problem else None
                await self._journal.set_cancel_attempt(self._ticket, self._since, self._count, problem, next_at)

            if problem is None:
                return

            log.warning("%s: attempt %d to cancel failed: %s", self._ticket, self._count, problem)
            await self.pause(pause)

    async def _make_one(self, attempt: Callable[[], Awaitable[None]]) -> str | None:
        """Return what went wrong, or None."""
        try:
            with fail_after(ATTEMPT_SECONDS):
                await attempt()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

        return None
