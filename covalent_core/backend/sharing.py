"""What executors have in common that reach the same backend in the same way: a poll, a line of orders, clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Shared(Generic[T]):
    """Something that all share who ask for it with the same words: made for the first, closed after the last.

    It belongs to the event loop in which it was made.

    Args:
        make: Makes it of the words. They are the same if their ``repr`` is.
        close: Closes it.
    """

    def __init__(self, make: Callable[..., T], close: Callable[[T], Awaitable[object] | object]) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, tuple[T, int]]] = WeakKeyDictionary()

    def join(self, *words: object) -> T:
        """Return it, until whoever has joined leaves it."""
        held, key = self._held.setdefault(asyncio.get_running_loop(), {}), repr(words)
        value, users = held.get(key) or (self._make(*words), 0)
        held[key] = value, users + 1
        return value

    async def leave(self, value: T) -> None:
        """Use it no more; the last one closes it."""
        held = self._held[asyncio.get_running_loop()]
        key, users = next((key, users) for key, (other, users) in held.items() if other is value)

        if users > 1:
            held[key] = value, users - 1
            return

        del held[key]
        closed = self._close(value)

        if isawaitable(closed):
            await closed
