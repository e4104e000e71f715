"""The journal writes for many at once, and what it cannot write is the error of whoever wanted it written, alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from covalent_core._home import Home
from covalent_core._store.journal import Journal
from covalent_core._store.store import Store


async def write_together(journal: Journal, handles: list[Any]) -> list[Exception | None]:
    """Let a caller each write a job with its handle, in one batch; return what each of them hears."""
    heard: list[Exception | None] = [None] * len(handles)

    async def write(place: int, handle: Any) -> None:
        try:
            await journal.set_job_handle("d", f"t-{place}", handle, [])
        except Exception as error:
            heard[place] = error

    for place in range(len(handles)):
        await journal.add_job("d", f"t-{place}", 0, [])

    async with anyio.create_task_group() as callers:
        for place, handle in enumerate(handles):
            callers.start_soon(write, place, handle)

    return heard


async def with_journal(journal: Journal, use: Callable[[], Any]) -> Any:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.run)
        found = await use()
        tasks.cancel_scope.cancel()

    return found


@pytest.mark.parametrize("refused", [{"a": 1}, 10**30, object()])
def test_what_the_store_does_not_take_is_the_error_of_its_caller_alone(tmp_path: Path, refused: Any) -> None:
    store = Store(Home(tmp_path / "home"))
    journal = Journal(store)
    heard = anyio.run(with_journal, journal, lambda: write_together(journal, ["first", refused, "third"]))

    assert [error is None for error in heard] == [True, False, True]

    with store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT ticket, handle FROM jobs ORDER BY ticket").all()

    assert [tuple(row) for row in rows] == [("t-0", "first"), ("t-1", None), ("t-2", "third")]


def test_writes_of_one_caller_are_written_all_or_not_at_all(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home"))
    journal = Journal(store)

    async def add_twice() -> None:
        await journal.add_job("d", "t", 0, [1, 2])

        with pytest.raises(sqlite3.IntegrityError):
            await journal.add_job("d", "t", 0, [3])

        with pytest.raises(sqlite3.IntegrityError):
            await journal.add_job("d", "u", 0, [4, None])  # type: ignore[list-item]

    anyio.run(with_journal, journal, add_twice)

    assert [(row.ticket, row.node_id) for row in store.get_jobs("d")] == [("t", 1), ("t", 2)]


def test_a_store_that_is_damaged_is_nobodys_fault_and_ends_the_dispatcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(Store(Home(tmp_path / "home")))

    def damaged(*_: Any, **__: Any) -> int:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(journal, "_commit", damaged)

    with pytest.raises(Exception) as caught:
        anyio.run(with_journal, journal, lambda: journal.set_location("t", "here"))

    assert "malformed" in repr(caught.value)
