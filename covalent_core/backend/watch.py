"""One poll for all jobs of a backend that somebody waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from anyio import fail_after, move_on_after

from covalent_core.backend._pace import NEVER, Pace, Setbacks, Waited
from covalent_core.backend._waiting import Tell, Told, Trouble, words_of
from covalent_core.backend.looks import Alive, Look, Over, Unknown
from covalent_core.backend.patience import is_refusal
from covalent_core.errors import ExecutorError

Key = TypeVar("Key")
T = TypeVar("T")

#: Seconds in which those gather who want to know something at the same moment.
MOMENT = 0.01


@dataclass
class _Job(Waited):
    """A job that somebody waits for, or did a moment ago.

    Attributes:
        answers: Where those wait who want the next look.
    """

    answers: list[asyncio.Future[Look]] = field(default_factory=list)


class Watch(Generic[Key]):
    """Look at all jobs that somebody waits for at once, however many they are.

    A look that fails is `Unknown` for all whom it was about, and so is a job that is not in the answer: nothing is
    concluded from silence. The longer somebody has waited, the rarer the looks: a quarter of that time is between two,
    within the bounds that the backend sets. After failures the pauses grow, after a refusal they take minutes.

    Args:
        ask: Returns by key what is known of some jobs. Whatever it raises is a look that has failed.
        chunk: How many jobs it can be asked for at once. Default: all. Then every look asks for all who are waited for.
        floor: The shortest time, in seconds, between two looks of whoever is in no hurry.
        ceiling: The longest time, in seconds, between two looks at the same job.
        hurried: The shortest time, in seconds, between two looks for somebody who is in a hurry.
        limit: Seconds that an answer may take; a later one is none.
        what: What is the case where a look fails, to begin a sentence with.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Look]]],
        *,
        chunk: int | None = None,
        floor: float = 1.0,
        ceiling: float = 30.0,
        hurried: float = 0.25,
        limit: float = 60.0,
        what: str = "it is not known how the job is",
    ) -> None:
        self._ask: Final = ask
        self._chunk = chunk
        self._pace = Pace(floor, ceiling, hurried)
        self._limit = limit
        self._what = what
        self._jobs: dict[Key, _Job] = {}
        self._polling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._polled_at = NEVER
        self._closed = False
        self._trouble = Trouble(what)
        self._setbacks = Setbacks(floor, ceiling)
        self._refusal: Exception | None = None

    async def look(self, key: Key, *, now: bool = False) -> Look:
        """Return what the next look at a job shows; what was asked before this call is not taken for an answer.

        Args:
            now: Be in a hurry.

        Raises:
            ExecutorError: The watch is closed. A look that fails raises nothing.
        """
        if self._closed:
            raise _closed_error()

        job = self._jobs.setdefault(key, _Job(time.monotonic()))
        answer: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
        job.answers.append(answer)

        if now:
            self.hurry(key)

        self._news.set()

        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())

        try:
            return await answer
        finally:
            if answer in job.answers:
                job.answers.remove(answer)

    async def until_over(
        self,
        key: Key,
        *,
        sign: Watch[Key] | None = None,
        on_look: Callable[[Look], object] | None = None,
        tell: Tell | None = None,
    ) -> Over:
        """Return when a job is over, and only then: looks that show nothing are waited out.

        Args:
            sign: Another watch whose word counts as well, one over files that a runner leaves for example, which may be
                looked at more often. Which of the two came first can be told from the state.
            on_look: Is given what each look of either shows.
            tell: Is told what the job waits for, or that it is not known how it is, why and since when, as it changes;
                an empty text means that it waits for nothing. ``job.report_waiting`` fits.

        Raises:
            ExecutorError: The watch was closed. A look that fails raises nothing.
            Exception: What `on_look` or `tell` has raised.
        """
        own = self._until_over(key, on_look, tell)
        return await (own if sign is None else _first(own, sign._until_over(key, on_look, None)))

    async def is_over_within(self, key: Key, seconds: float, *, tell: Tell | None = None) -> bool:
        """Return True as soon as a job is over, False if that is not known in time. It is looked at in a hurry.

        Args:
            tell: As for `until_over`.
        """
        self.hurry(key)

        with move_on_after(seconds):
            await self.until_over(key, tell=tell)
            return True

        return False

    def hurry(self, *keys: Key) -> None:
        """Look at these jobs at once, and for two seconds with short pauses: something was just changed there.

        It spares a backend nothing but minutes after a refusal.
        """
        now = time.monotonic()

        for key in keys:
            job = self._jobs.setdefault(key, _Job(now))
            job.since = job.hurried_at = now

        self._news.set()

    def close(self) -> None:
        """Look no more. Whoever still waits gets an error, for he knows nothing."""
        self._closed = True

        if self._polling is not None:
            self._polling.cancel()

        for job in self._jobs.values():
            _refuse(job.answers)

    async def _until_over(self, key: Key, on_look: Callable[[Look], object] | None, tell: Tell | None) -> Over:
        told, trouble = Told(tell), Trouble(self._what, logs=False)

        try:
            while True:
                look = await self.look(key)

                if on_look is not None:
                    on_look(look)

                if isinstance(look, Over):
                    return look

                told.say(_words(look, trouble))
        finally:
            told.say("")

    # --- the poll ----------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Look again and again, as long as anybody waits."""
        try:
            while self._waiting():
                await self._until_due()
                self._polled_at = time.monotonic()
                # Those who waited may have been interrupted meanwhile: that nobody is asked about says nothing.
                if failures := [await self._ask_once(keys) for keys in self._chunks() if keys]:
                    self._draw_conclusions(failures)

                self._forget()
        finally:
            self._polling = None

    async def _until_due(self) -> None:
        # Whoever has had an answer, and others of the same moment, ask first.
        await asyncio.sleep(MOMENT)

        while (pause := self._next_poll() - time.monotonic()) > 0:
            self._news.clear()

            with move_on_after(pause):
                await self._news.wait()

    def _waiting(self) -> dict[Key, _Job]:
        return {key: job for key, job in self._jobs.items() if job.answers}

    def _next_poll(self) -> float:
        """Return when to look next: when somebody is due, but not too soon after the last look."""
        now, waiting = time.monotonic(), self._waiting().values()
        hurried = any(job.is_hurried(now) for job in waiting)
        due = min((self._pace.due(job, now) for job in waiting), default=now)
        return max(due, self._polled_at + self._pace.shortest(hurried=hurried), self._setbacks.until(hurried=hurried))

    def _chunks(self) -> Iterator[list[Key]]:
        now, waiting = time.monotonic(), self._waiting()

        if self._chunk is None:
            yield list(waiting)
            return

        due = [key for key, job in waiting.items() if self._pace.due(job, now) <= now]
        yield from (due[place : place + self._chunk] for place in range(0, len(due), self._chunk))

    async def _ask_once(self, keys: list[Key]) -> Exception | None:
        """Answer all who wait for these jobs; return what has come instead of an answer, if anything."""
        answers = {key: self._jobs[key].answers for key in keys}

        for key in keys:
            self._jobs[key].answers, self._jobs[key].asked_at = [], time.monotonic()

        try:
            looks = await self._looks(keys)
            unknown = Unknown(words_of(looks) if isinstance(looks, Exception) else "the backend does not list it")
            found = {} if isinstance(looks, Exception) else looks

            for key, waiting in answers.items():
                for answer in waiting:
                    # Whoever asked may have been interrupted.
                    if not answer.done():
                        answer.set_result(found.get(key, unknown))
        finally:
            for waiting in answers.values():
                _refuse(waiting)

        return looks if isinstance(looks, Exception) else None

    async def _looks(self, keys: list[Key]) -> Mapping[Key, Look] | Exception:
        if self._refusal is not None:
            # To ask on for the others would make it worse.
            return self._refusal

        try:
            with fail_after(self._limit):
                return dict(await self._ask(keys))
        except TimeoutError as error:
            return TimeoutError(str(error) or f"no answer within {self._limit:g} s")
        except Exception as error:
            self._refusal = error if is_refusal(error) else None
            return error

    def _draw_conclusions(self, failures: list[Exception | None]) -> None:
        """Look later again where the backend has said nothing; a part of it that fails keeps nobody from the rest."""
        failed = [error for error in failures if error is not None]

        if not failed:
            self._trouble.over()
            self._setbacks.over()
            return

        self._trouble.met(words_of(failed[0]))

        if self._refusal is not None or len(failed) == len(failures):
            self._setbacks.met(self._refusal or failed[0])

        self._refusal = None

    def _forget(self) -> None:
        """Forget since when a job is waited for that nobody asks for any more."""
        long_ago = time.monotonic() - 2 * self._pace.ceiling - self._limit

        for key in [key for key, job in self._jobs.items() if not job.answers and job.asked_at < long_ago]:
            del self._jobs[key]


def _refuse(answers: list[asyncio.Future[Look]]) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(_closed_error())


def _closed_error() -> ExecutorError:
    return ExecutorError("nobody looks at the jobs of this backend any more: the watch over them is closed")


def _words(look: Alive | Unknown, trouble: Trouble) -> str:
    if isinstance(look, Unknown):
        return trouble.met(look.why)

    trouble.over()
    return look.reason


async def _first(*waits: Coroutine[Any, Any, T]) -> T:
    """Return what the first of them returns; the others are interrupted."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]

    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()

        await asyncio.gather(*tasks, return_exceptions=True)
