"""What ended long ago is forgotten whole; what has not ended, or is needed by others, stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, wait_until
from sqlalchemy import func, select
from tasks import finished, gather, held, let_go, quick, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.purge import ORPHAN_SECONDS, forget
from covalent_core._store.schema import Row
from covalent_core._store.store import Store
from covalent_core.errors import DispatchError, DispatchNotFoundError

#: Larger than what the store keeps in its rows.
LARGE = 100_000


@ct.lattice
def inner(folder: Path) -> Any:
    return gather(quick(folder, "inside"), ct.electron(bytes)(LARGE))


@ct.lattice
def outer(folder: Path) -> Any:
    return gather(inner(folder), ct.electron(bytes)(LARGE))


@ct.lattice
def holding(folder: Path) -> Any:
    return gather(held(folder, "task"))


def rows() -> dict[str, int]:
    """Return how many rows each table has; executors are those of the home."""
    with Store(find_home()).database.read() as connection:
        tables = [table for table in Row.metadata.tables.values() if table.name != "executors"]
        return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def test_nothing_is_left_of_what_is_forgotten(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(outer)(tmp_path)
    assert finished(dispatch_id).status == Status.COMPLETED
    ct.cancel(dispatch_id, task_ids=[0])
    failed = finished(ct.dispatch(holding)(tmp_path / "not there")).dispatch_id
    wait_until(lambda: all(job.released for job in Store(find_home()).get_jobs(failed)))
    assert list((home / "values").iterdir())

    assert ct.purge(0) == [dispatch_id, failed]
    assert set(rows().values()) == {0}
    assert list((home / "values").iterdir()) == []

    with pytest.raises(DispatchNotFoundError):
        ct.get_result(dispatch_id)


def test_only_what_was_asked_for_and_has_ended_goes(home: Path, tmp_path: Path) -> None:
    (tmp_path / "ended").mkdir()
    open_dispatch = ct.dispatch(holding)(tmp_path)
    tree(tmp_path, "task")
    completed = finished(ct.dispatch(outer)(tmp_path / "ended")).dispatch_id
    cancelled = ct.dispatch(holding, delay=600)(tmp_path)
    ct.cancel(cancelled, wait=True)

    assert ct.purge(timedelta(days=1)) == []
    assert ct.purge(0, dry_run=True) == [completed, cancelled]
    assert ct.purge(0, status=["CANCELLED"], dry_run=True) == [cancelled]
    assert ct.purge(0, status=Status.FAILED) == []
    assert ct.purge(0, status="CANCELLED") == [cancelled]
    assert ct.purge(0) == [completed]
    let_go(tmp_path, "task")
    assert finished(open_dispatch).result == ("task",)


def test_what_is_still_to_be_released_stays(home: Path, tmp_path: Path, stops: Stops) -> None:
    stops.take("before-release")
    dispatch_id = ct.dispatch(outer)(tmp_path)
    stops.wait("before-release")
    ct.cancel(dispatch_id)
    wait_until(lambda: ct.get_result(dispatch_id).status in (Status.CANCELLING, Status.CANCELLED))

    assert ct.purge(0) == []
    stops.leave("before-release")
    finished(dispatch_id)
    wait_until(lambda: ct.purge(0) == [dispatch_id])


def test_what_was_taken_up_keeps_its_outputs(home: Path, tmp_path: Path) -> None:
    first = finished(ct.dispatch(outer)(tmp_path)).dispatch_id
    second = ct.redispatch(first)()
    expected = finished(second).result
    assert set(ct.purge(0, dry_run=True)) == {first, second}
    forget(Store(find_home()), [first])

    assert ct.get_result(second).result == expected


def test_a_schedule_stays_while_it_or_one_of_its_dispatches_is_there(home: Path, tmp_path: Path) -> None:
    ct.schedule(outer, name="nightly", every=3600)(tmp_path)
    first = finished(ct.trigger("nightly")).dispatch_id
    wait_until(lambda: ct.purge(0) == [first])
    second = finished(ct.trigger("nightly"))
    assert second.status == Status.COMPLETED
    ct.unschedule("nightly")
    wait_until(lambda: ct.purge(0) == [second.dispatch_id])

    assert set(rows().values()) == {0}


def test_values_that_belong_to_nothing_are_swept_when_they_are_old(home: Path, tmp_path: Path) -> None:
    ct.list_dispatches()
    new, old = home / "values" / "new", home / "values" / "old"

    for folder in (new, old):
        folder.mkdir(parents=True)
        (folder / "output-0").write_bytes(b"x")

    past = time.time() - ORPHAN_SECONDS - 60
    os.utime(old, (past, past))

    assert ct.purge(0) == []
    assert (new.exists(), old.exists()) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"older_than": -1}, "older_than is -1"),
        ({"older_than": "a week"}, "older_than is 'a week'"),
        ({"older_than": 1, "status": "RUNNING"}, "nothing ends as 'RUNNING'; what has ended is CANCELLED, COMPLETED"),
    ],
)
def test_what_makes_no_sense_forgets_nothing(home: Path, arguments: Any, words: str) -> None:
    with pytest.raises(DispatchError, match=words):
        ct.purge(**arguments)


def test_the_command_line_says_what_it_forgets(home: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "covalent_core", "purge", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    dispatch_id = ct.dispatch(outer, delay=600)(tmp_path)
    ct.cancel(dispatch_id)

    assert run("--older-than", "1d").stdout == ""
    assert run("--older-than", "0s", "--dry-run").stdout == f"{dispatch_id}\n"
    assert run("--older-than", "0s", "--status", "CANCELLED").stdout == f"{dispatch_id}\n"
    assert run("--older-than", "0s").stdout == ""
    assert "'soon' is no span of time; write 30d, 12h, 45m or 90s" in run("--older-than", "soon").stderr
