"""Attempts to end something at a backend: made until one is confirmed, with growing pauses, and visible meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator

from anyio import CancelScope, Event, current_time, fail_after, move_on_after

from covalent_core._store.database import now
from covalent_core._store.journal import Journal
from covalent_core.errors import BackendUnreachableError

log = logging.getLogger(__name__)

#: How long one attempt to cancel, find or release may take, besides the grace period of the job.
ATTEMPT_SECONDS = 120.0
#: How long the last attempt may take once somebody has given the job up, besides the grace period.
FORCED_SECONDS = 10.0
#: The pauses between attempts: they double from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 60.0
#: The least pause after a refusal: who is refused often is locked out.
REFUSED_PAUSE = 120.0


class GivenUp(Exception):  # noqa: N818  (a signal, not an error)
    """Somebody has given a job up whose end could not be confirmed; the message says who, and what is not known."""


class _BegunAnew(Exception):  # noqa: N818  (a signal, not an error)
    """An attempt was broken off for another one that asks for more."""


def pauses() -> Iterator[float]:
    """Give the seconds to wait after each attempt, for ever."""
    pause = FIRST_PAUSE

    while True:
        yield pause
        pause = min(2 * pause, LAST_PAUSE)


def pause_after(error: BaseException | None, pause: float) -> float:
    """Return the seconds to wait after an attempt that has ended with an error."""
    refused = isinstance(error, BackendUnreachableError) and error.refused
    return max(pause, REFUSED_PAUSE) if refused else pause


class Attempts:
    """The attempts to end one job, and how many of them there have been since when.

    Args:
        grace: The grace period of the job in seconds, which an attempt may take besides its own time.
    """

    def __init__(self, journal: Journal, ticket: str, *, grace: float, since: float | None, count: int) -> None:
        self._journal = journal
        self._ticket = ticket
        self._grace = grace
        self._since = since
        self._count = count
        self._given_up_by: str | None = None
        self._again = Event()
        self._scope: CancelScope | None = None

    @property
    def given_up(self) -> bool:
        """Whether somebody does not want to wait any more."""
        return self._given_up_by is not None

    def hurry(self) -> None:
        """Make the next attempt now."""
        self._again.set()

    def begin_anew(self) -> None:
        """Make the next attempt now, in place of the one that is being made, if there is one."""
        self.hurry()

        if self._scope is not None:
            self._scope.cancel()

    def give_up(self, by: str) -> None:
        """Make one more attempt now, a short one; if that fails as well, the job is given up."""
        self._given_up_by = self._given_up_by or by
        self.hurry()

        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, current_time() + self._seconds())

    def go_on(self) -> None:
        """Make attempts as if nobody had given anything up: that is said of single nodes, and others are left."""
        self._given_up_by = None

    async def pause(self, seconds: float) -> None:
        """Wait, unless somebody asks for the next attempt now."""
        with move_on_after(seconds):
            await self._again.wait()

        self._again = Event()

    async def make(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Return when an attempt has succeeded.

        Raises:
            GivenUp: Somebody has given the job up, and the attempt after that has failed.
        """
        for pause in pauses():
            self._since = self._since or now()
            self._count += 1
            self._again = Event()
            problem = await self._make_one(attempt)

            if isinstance(problem, _BegunAnew):
                continue

            seconds = pause_after(problem, pause)
            words = None if problem is None else f"{type(problem).__name__}: {problem}"

            if words or self._count > 1:
                next_at = now() + seconds if words else None
                await self._journal.set_cancel_attempt(self._ticket, self._since, self._count, words, next_at)

            if words is None:
                return

            if self._given_up_by:
                raise GivenUp(f"given up by {self._given_up_by}: not confirmed to have ended: {words}")

            log.warning("%s: attempt %d to cancel failed: %s", self._ticket, self._count, words)
            await self.pause(seconds)

    async def _make_one(self, attempt: Callable[[], Awaitable[None]]) -> Exception | None:
        """Return what went wrong, or None."""
        try:
            with fail_after(self._seconds()) as self._scope:
                await attempt()

            if self._scope.cancelled_caught:
                return _BegunAnew()
        except TimeoutError as error:
            return error if str(error) else TimeoutError(f"no answer within {self._seconds():g} s")
        except Exception as error:
            return error
        finally:
            self._scope = None

        return None

    def _seconds(self) -> float:
        return (FORCED_SECONDS if self._given_up_by else ATTEMPT_SECONDS) + self._grace
