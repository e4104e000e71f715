"""What the dispatcher writes: at once where nothing else is being written, and together where something is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from covalent_core._home import Home
from covalent_core._store.journal import Journal
from covalent_core._store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def batches_of(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each transaction that begins by the number of its writes."""
    found: list[int] = []
    commit = journal._commit

    def count(batch: list[Any], **patience: float) -> int:
        if not patience:
            # In a thread, after the attempt to commit at once.
            return commit(batch)

        found.append(len(batch))
        return commit(batch, **patience)

    monkeypatch.setattr(journal, "_commit", count)
    return found


def test_a_transition_does_not_wait_for_company(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write_alone() -> list[int]:
        journal = Journal(store)
        batches = batches_of(journal, monkeypatch)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal.run)
            tasks.start_soon(journal.set_location, "ticket", "there")

            # A few turns of the event loop, and no time in which something else could come.
            for _ in range(10):
                await checkpoint()

            written = list(batches)
            tasks.cancel_scope.cancel()

        return written

    assert anyio.run(write_alone) == [1]


def test_what_comes_while_a_transaction_is_being_written_is_written_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write_beside_another_process(other: sqlite3.Connection) -> list[int]:
        journal = Journal(store)
        batches = batches_of(journal, monkeypatch)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(journal.run)
            other.execute("BEGIN IMMEDIATE")

            async with anyio.create_task_group() as writing:
                writing.start_soon(journal.set_location, "first", "there")

                while not batches:
                    await checkpoint()

                for number in range(5):
                    writing.start_soon(journal.set_location, str(number), "there")

                while len(journal._waiting) < 5:
                    await checkpoint()

                other.execute("COMMIT")

            written = list(batches)
            tasks.cancel_scope.cancel()

        return written

    with closing(sqlite3.connect(store.home.database, isolation_level=None)) as other:
        assert anyio.run(write_beside_another_process, other) == [1, 5]
