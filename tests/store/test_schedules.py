"""A tick and an `unschedule` at the same moment: whichever comes first, nothing starts after the second."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select, update

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import Home
from covalent_core._model.calendar import Calendar
from covalent_core._store.rows import NewDispatch
from covalent_core._store.schedules import NewSchedule, Schedules
from covalent_core._store.schema import dispatches, nodes, schedules
from covalent_core._store.store import Store
from covalent_core.errors import ScheduleNotFoundError


@ct.lattice
def workflow() -> int:
    return ct.electron(len)([1, 2])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Home(tmp_path / "home"))


def add(store: Store, name: str) -> None:
    calendar = Calendar(None, 3600.0, "UTC", time.time())
    Schedules(store).add(NewSchedule(name, calendar, NewDispatch(workflow.build_graph(), "somebody"), "skip", 0))

    with store.database.write() as connection:
        connection.execute(update(schedules).values(next_due=time.time() - 1))


def statuses(store: Store, name: str) -> list[str]:
    with store.database.read() as connection:
        query = select(dispatches.c.status).where(dispatches.c.schedule == name)
        return list(connection.execute(query).scalars())


def test_a_tick_copies_what_was_stored(store: Store) -> None:
    add(store, "one")
    (dispatch_id,) = Schedules(store).tick()
    row, found = store.get_dispatch(dispatch_id)

    assert (row.name, row.schedule, row.client, row.status) == ("workflow", "one", "somebody", Status.NEW_OBJECT)
    assert [(node.name, node.status) for node in found] == [
        ("len", Status.NEW_OBJECT),
        (":parameter:[1, 2]", Status.COMPLETED),
    ]
    assert Schedules(store).tick() == []


@pytest.mark.parametrize("tick_first", [True, False])
def test_in_either_order_nothing_is_open_afterwards(store: Store, tick_first: bool) -> None:
    add(store, "one")

    if tick_first:
        assert len(Schedules(store).tick()) == 1

    outcomes = Schedules(store).end("one", "no more", "somebody")

    assert len(outcomes) == tick_first
    assert Schedules(store).tick() == []
    assert statuses(store, "one") == [Status.CANCELLED] * tick_first

    with pytest.raises(ScheduleNotFoundError):
        Schedules(store).trigger("one")


def test_at_the_same_moment_nothing_is_open_afterwards(store: Store) -> None:
    both = Barrier(2)
    started = 0

    def tick() -> list[str]:
        both.wait()
        return Schedules(store).tick()

    def end(name: str) -> list[ct.CancelOutcome]:
        both.wait()
        return Schedules(store).end(name, "no more", "somebody")

    with ThreadPoolExecutor(2) as pool:
        for number in range(60):
            name = f"schedule {number}"
            add(store, name)
            ticked, ended = pool.submit(tick), pool.submit(end, name)
            started += len(ticked.result())

            assert len(ended.result()) == len(ticked.result())
            assert Status.NEW_OBJECT not in statuses(store, name)

    with store.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(nodes)).scalar_one() == 2 * (60 + started)
