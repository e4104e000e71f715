"""Questions of one moment are asked as one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from covalent_core.backend import Together


class Asked:
    """Answers questions, and keeps what it was asked at once."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []

    async def __call__(self, questions: list[int]) -> dict[int, int | Exception]:
        self.together.append(questions)
        await asyncio.sleep(0)
        return {number: ValueError(str(number)) if number < 0 else number * 2 for number in questions}


def test_questions_of_one_moment_are_asked_as_one() -> None:
    async def ask() -> tuple[list[Any], list[list[int]]]:
        asked = Asked()
        together: Together[int, int] = Together(asked, moment=0.01, longest=1)
        first = await asyncio.gather(*map(together.ask, [1, 2, -3]), return_exceptions=True)
        return [*first, await together.ask(4)], asked.together

    answers, asked = asyncio.run(ask())

    assert answers[:2] == [2, 4]
    assert isinstance(answers[2], ValueError)
    assert answers[3] == 8
    assert asked == [[1, 2, -3], [4]]


def test_who_is_interrupted_does_not_interrupt_the_others() -> None:
    async def ask() -> tuple[int, list[list[int]]]:
        asked = Asked()
        together: Together[int, int] = Together(asked, moment=0.01, longest=1)
        first, second = (asyncio.create_task(together.ask(number)) for number in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        return await second, asked.together

    assert asyncio.run(ask()) == (4, [[1, 2]])


@pytest.mark.parametrize(("patience", "together"), [(5.0, [[1, 2]]), (0.0, [[1], [2]])])
def test_one_that_is_sure_to_come_is_waited_for(patience: float, together: list[list[int]]) -> None:
    async def ask() -> list[list[int]]:
        asked = Asked()
        gathered: Together[int, int] = Together(asked, moment=0.001, patience=patience, longest=5)
        coming = {2}
        first = asyncio.create_task(gathered.ask(1, expected=lambda: bool(coming)))
        await asyncio.sleep(0.1)
        coming.clear()
        await gathered.ask(2)
        await first
        return asked.together

    assert asyncio.run(ask()) == together
