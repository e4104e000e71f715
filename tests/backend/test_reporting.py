"""Work that is done beside the waiting of a hook."""

from __future__ import annotations

import asyncio

import pytest

from covalent_core.backend import beside


def test_the_work_goes_on_until_the_waiting_is_over() -> None:
    done: list[int] = []

    async def work() -> None:
        while True:
            done.append(1)
            await asyncio.sleep(0)

    async def wait() -> int:
        async with beside(work()):
            while len(done) < 3:
                await asyncio.sleep(0)

        reached = len(done)
        await asyncio.sleep(0.01)
        return reached

    assert asyncio.run(wait()) == len(done)


def test_what_the_work_raises_is_raised_when_the_waiting_is_over() -> None:
    waited: list[int] = []

    async def work() -> None:
        raise ValueError("wrong")

    async def wait() -> None:
        async with beside(work()):
            await asyncio.sleep(0)
            waited.append(1)

    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(wait())

    assert waited == [1]
