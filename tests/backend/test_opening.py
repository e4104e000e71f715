"""What all share is opened once, and opened again when it was lost."""

from __future__ import annotations

import asyncio

import pytest

from covalent_core.backend import Opening


class Door:
    """Can be opened when it is time to, and only so often as it is told to fail before."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.attempts = 0
        self.is_open = False
        self.may_open = asyncio.Event()

    async def open(self) -> Door:
        self.attempts += 1
        await self.may_open.wait()

        if self.attempts <= self.failures:
            raise ConnectionError(f"attempt {self.attempts}")

        self.is_open = True
        return self


def opening(door: Door) -> Opening[Door]:
    return Opening(door.open, lambda door: door.is_open, first_pause=0.001)


def test_all_who_need_it_share_one_attempt() -> None:
    async def get() -> int:
        door = Door()
        shared = opening(door)
        getting = [asyncio.create_task(shared.get()) for _ in range(10)]
        await asyncio.sleep(0)
        door.may_open.set()
        assert {id(got) for got in await asyncio.gather(*getting)} == {id(door)}
        return door.attempts

    assert asyncio.run(get()) == 1


def test_what_was_lost_is_opened_again() -> None:
    async def get() -> int:
        door = Door()
        door.may_open.set()
        shared = opening(door)
        await shared.get()
        door.is_open = False
        assert shared.value is None
        await shared.get()
        return door.attempts

    assert asyncio.run(get()) == 2


def test_who_is_interrupted_does_not_interrupt_the_others() -> None:
    async def get() -> int:
        door = Door()
        shared = opening(door)
        first, second = (asyncio.create_task(shared.get()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        door.may_open.set()
        await second
        return door.attempts

    assert asyncio.run(get()) == 1


def test_a_failure_is_told_and_the_next_attempt_may_do() -> None:
    async def get() -> list[int]:
        door = Door(failures=1)
        door.may_open.set()
        shared = opening(door)

        with pytest.raises(ConnectionError, match="attempt 1"):
            await shared.get()

        failures = [shared.failures]
        await shared.get()
        return [*failures, shared.failures]

    assert asyncio.run(get()) == [1, 0]
