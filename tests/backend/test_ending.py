"""A graceful end: told, waited for, ended, proven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from covalent_core.backend import end_gracefully
from covalent_core.errors import ExecutorError


class Target:
    """Ends by itself or by force, or not; keeps what happens to it."""

    def __init__(self, ends_by: str = "") -> None:
        self.happened: list[str] = []
        self._ends_by = ends_by

    def gently(self) -> None:
        self.happened.append("gently")

    async def firmly(self) -> None:
        await asyncio.sleep(0)
        self.happened.append("firmly")

    async def is_over_within(self, seconds: float) -> bool:
        self.happened.append(f"{seconds:g} s")
        return self._ends_by in self.happened


@pytest.mark.parametrize(
    ("ends_by", "grace", "happened"),
    [
        ("gently", 5.0, ["gently", "5 s"]),
        ("firmly", 5.0, ["gently", "5 s", "firmly", "9 s"]),
        ("firmly", 0.0, ["firmly", "9 s"]),
    ],
)
def test_the_way_of_an_end(ends_by: str, grace: float, happened: list[str]) -> None:
    target = Target(ends_by)

    asyncio.run(end_gracefully(target.gently, target.firmly, target.is_over_within, grace=grace, proof=9))

    assert target.happened == happened


def test_where_there_is_no_gentle_order_it_is_ended_at_once() -> None:
    target = Target("firmly")

    asyncio.run(end_gracefully(None, target.firmly, target.is_over_within, grace=5, proof=9))

    assert target.happened == ["firmly", "9 s"]


def test_what_is_not_proven_is_an_error() -> None:
    target = Target("never")
    ending = end_gracefully(target.gently, target.firmly, target.is_over_within, grace=5, proof=9, what="container c")

    with pytest.raises(ExecutorError, match="container c is not known to be over 9 s after the order to end it"):
        asyncio.run(ending)


@pytest.mark.parametrize("which", ["gently", "firmly"])
def test_an_order_that_fails_is_an_error(which: str) -> None:
    target = Target("firmly")

    def fail() -> None:
        raise ConnectionError("the daemon has gone")

    orders: dict[str, Callable[[], object]] = {"gently": target.gently, "firmly": target.firmly, which: fail}

    with pytest.raises(ConnectionError, match="the daemon has gone"):
        asyncio.run(end_gracefully(orders["gently"], orders["firmly"], target.is_over_within, grace=5))
