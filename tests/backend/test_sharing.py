"""What executors share that reach a backend in the same way."""

from __future__ import annotations

import asyncio

from covalent_core.backend import Shared


class Client:
    def __init__(self, *words: object) -> None:
        self.words = words
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


def test_it_is_made_for_the_first_and_closed_after_the_last() -> None:
    clients = Shared(Client, Client.close)

    async def use() -> None:
        first, second, other = clients.join("host", 1), clients.join("host", 1), clients.join("host", 2)
        assert first is second
        assert other.words == ("host", 2)
        await clients.leave(first)
        assert not first.is_closed
        await clients.leave(second)
        assert first.is_closed
        assert not other.is_closed
        assert clients.join("host", 1) is not first

    asyncio.run(use())


def test_another_event_loop_has_its_own() -> None:
    clients = Shared(Client, Client.close)

    async def join() -> Client:
        return clients.join("host")

    assert asyncio.run(join()) is not asyncio.run(join())
