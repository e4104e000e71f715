"""What many ask for at the same moment, done for all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Gather questions until there are no more to be expected, and ask them as one.

    Args:
        ask: Answers many questions; an exception among the answers is raised for who has asked, and one that it
            raises for all.
        moment: Seconds that it waits for another question.
        patience: Seconds that it waits for another one that is sure to come.
        longest: Seconds after which it waits no more.
    """

    def __init__(
        self,
        ask: Callable[[list[Q]], Awaitable[Mapping[Q, A | Exception]]],
        *,
        moment: float,
        patience: float = 0.0,
        longest: float,
    ) -> None:
        self._ask = ask
        self._moment = moment
        self._patience = patience
        self._longest = longest
        self._asked_at = 0.0
        self._gathered: list[Q] = []
        self._next: asyncio.Task[Mapping[Q, A | Exception]] | None = None

    async def ask(self, question: Q, *, expected: Callable[[], bool] = lambda: False) -> A:
        """Return the answer. Who is interrupted here does not interrupt the others.

        Args:
            expected: Whether more questions are sure to come.

        Raises:
            Exception: The answer is one.
        """
        self._gathered.append(question)
        self._asked_at = time.monotonic()

        if self._next is None:
            self._next = asyncio.create_task(self._ask_all(expected))
            # Whoever waited may have been interrupted: then nobody else looks at how it ended.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())

        answer = (await asyncio.shield(self._next))[question]

        if isinstance(answer, Exception):
            raise answer

        return answer

    async def _ask_all(self, expected: Callable[[], bool]) -> Mapping[Q, A | Exception]:
        latest = time.monotonic() + self._longest

        while (now := time.monotonic()) < latest:
            wait = self._patience if expected() else self._moment

            if now >= self._asked_at + wait:
                break

            await asyncio.sleep(self._moment)

        questions, self._gathered, self._next = self._gathered, [], None
        return await self._ask(questions)
