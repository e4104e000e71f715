"""To try again for as long as it takes, and to say so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from covalent_core.backend import patience, patiently
from covalent_core.errors import BackendUnreachableError


class Operation:
    """Raises what it is told to, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def __call__(self) -> str:
        if self._errors:
            raise self._errors.pop(0)

        return "done"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the pauses that are made, which take no time."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(patience, "sleep", sleep)
    return found


def test_losses_and_refusals_have_paces_of_their_own(pauses: list[float]) -> None:
    lost, refused = BackendUnreachableError("lost"), BackendUnreachableError("no", refused=True)
    operation = Operation(lost, lost, refused, lost, refused, lost)

    assert asyncio.run(patiently(operation, lost_pauses=(1, 3), refused_pauses=(100, 900))) == "done"
    assert pauses == [1, 2, 100, 3, 200, 3]


def test_what_is_lost_or_refused_can_be_said(pauses: list[float]) -> None:
    operation = Operation(ConnectionError(), PermissionError())

    assert asyncio.run(patiently(operation, lost=ConnectionError, refused=(PermissionError,))) == "done"
    assert pauses == [patience.LOST_PAUSES[0], patience.REFUSED_PAUSES[0]]


def test_all_else_is_raised_at_once(pauses: list[float]) -> None:
    told: list[str] = []

    with pytest.raises(OSError, match="disk"):
        asyncio.run(patiently(Operation(BackendUnreachableError("a"), OSError("disk")), tell=told.append))

    assert pauses == [1]
    assert told[-1] == ""


def test_the_words_are_told_as_they_change(pauses: list[float]) -> None:
    told: list[str] = []
    errors = [BackendUnreachableError(words) for words in ("munge", "munge", "no route", "")]

    asyncio.run(patiently(Operation(*errors), what="the cluster gives no answer", tell=told.append))

    assert [text.rpartition(": ")[2] for text in told] == ["munge", "no route", "BackendUnreachableError", ""]
    assert all(text.startswith("the cluster gives no answer, since 2") for text in told[:-1])


def test_nothing_is_told_where_nothing_is_wrong() -> None:
    told: list[str] = []

    assert asyncio.run(patiently(Operation(), tell=told.append)) == "done"
    assert told == []


def test_who_is_interrupted_waits_for_nothing_any_more() -> None:
    told: list[str] = []

    async def wait() -> None:
        task = asyncio.create_task(patiently(Operation(BackendUnreachableError("lost")), tell=told.append))

        while not told:
            await asyncio.sleep(0)

        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(wait())

    assert told[-1] == ""


@pytest.mark.parametrize(("hours", "lines"), [(0.5, 1), (2.5, 3)])
def test_the_log_has_a_first_line_and_then_one_an_hour(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hours: float, lines: int
) -> None:
    caplog.set_level(logging.WARNING, "covalent_core.backend")
    clock = [1.0]

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(patience, "sleep", sleep)
    monkeypatch.setattr("covalent_core.backend._waiting.time.monotonic", lambda: clock[0])
    errors: list[Any] = [BackendUnreachableError("lost")] * int(hours * 60)
    operation: Callable[[], Any] = Operation(*errors)
    asyncio.run(patiently(operation, lost_pauses=(60, 60)))

    assert len(caplog.records) == lines
