"""Something that is opened once for all who need it, and opened again when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: The longest pause between two attempts, in seconds.
LONGEST_PAUSE = 30.0


class Opening(Generic[T]):
    """What all share: one attempt at a time, after each failure a longer pause before the next.

    Args:
        open: Opens it.
        is_open: Whether it can still be used.
        first_pause: Seconds before the second attempt in a row; doubled before each further one.
    """

    def __init__(
        self, open: Callable[[], Awaitable[T]], is_open: Callable[[T], bool], *, first_pause: float = 0.0
    ) -> None:
        self._open = open
        self._is_open = is_open
        self._first_pause = first_pause
        self._value: T | None = None
        self._attempt: asyncio.Task[T] | None = None
        self.failures = 0

    @property
    def value(self) -> T | None:
        """What is open now, if anything is."""
        return self._value if self._value is not None and self._is_open(self._value) else None

    async def get(self) -> T:
        """Return it, opened if it is not open. Who is interrupted here does not interrupt the others.

        Raises:
            Exception: What the attempt that was waited for has raised.
        """
        if (value := self.value) is not None:
            return value

        if self._attempt is None:
            self._attempt = asyncio.create_task(self._try())
            self._attempt.add_done_callback(self._attempted)

        return await asyncio.shield(self._attempt)

    def close(self) -> None:
        """Give up an attempt that is under way."""
        if self._attempt is not None:
            self._attempt.cancel()

    async def _try(self) -> T:
        if self.failures:
            await asyncio.sleep(min(self._first_pause * 2 ** min(self.failures - 1, 16), LONGEST_PAUSE))

        try:
            self._value = await self._open()
        except Exception:
            self.failures += 1
            raise

        self.failures = 0
        return self._value

    def _attempted(self, attempt: asyncio.Task[T]) -> None:
        self._attempt = None

        if not attempt.cancelled():
            # Whoever waited may have been interrupted: then nobody else asks for it.
            attempt.exception()
