"""Dispatches that have something in common are found together, and cancelled together."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from probes import kill_dispatcher, wait_until
from tasks import any_alive, finished, held, quick, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import DispatchError

FAR = datetime(2500, 1, 1, tzinfo=timezone.utc)


@ct.lattice
def holding(folder: Path, name: str) -> Any:
    return held(folder, name)


@ct.lattice
def quickly(folder: Path, name: str) -> Any:
    return quick(folder, name)


@ct.lattice
def outer(folder: Path, name: str) -> Any:
    return holding(folder, name)


def ids(results: list[ct.Result]) -> set[str]:
    return {result.dispatch_id for result in results}


def test_they_are_found_by_what_they_have_in_common(home: Path, tmp_path: Path) -> None:
    both = ct.dispatch(quickly, tags=["night", "sweep", "night"])(tmp_path, "both")
    one = ct.dispatch(quickly, tags="sweep")(tmp_path, "one")
    none = ct.dispatch(quickly, at=FAR)(tmp_path, "none")
    finished(both)
    finished(one)

    def found(**common: Any) -> set[str]:
        return ids(ct.list_dispatches(where=ct.where(**common)))

    assert ct.get_result(both).tags == ["night", "sweep"]
    assert found(tag="sweep") == {both, one}
    assert found(tag=["sweep", "night"]) == {both}
    assert found(name="quickly", status=["NEW_OBJECT", Status.FAILED]) == {none}
    assert found(name="another") == found(executor="slurm") == found(older_than=timedelta(hours=1)) == set()
    assert found(executor="local", older_than=0) == {both, one, none}
    again = ct.redispatch(both)()
    assert ct.get_result(again).tags == ["night", "sweep"]


def test_they_are_cancelled_together_and_nothing_else_is(home: Path, tmp_path: Path) -> None:
    finished(ct.dispatch(quickly, tags="sweep")(tmp_path, "done"))
    first = ct.dispatch(holding, tags="sweep")(tmp_path, "first")
    second = ct.dispatch(outer, tags="sweep")(tmp_path, "second")
    other = ct.dispatch(quickly, at=FAR)(tmp_path, "other")
    processes = tree(tmp_path, "first") + tree(tmp_path, "second")
    sweep = ct.where(tag="sweep")

    shown = ct.cancel(where=sweep, dry_run=True)
    assert [outcome.dispatch_id for outcome in shown] == [first, second]
    assert all(shown)
    assert ct.get_result(first).get_cancellations() == []
    assert {ct.get_result(dispatch_id).status for dispatch_id in (first, second)} == {Status.RUNNING}

    outcomes = ct.cancel(where=sweep, reason="enough", wait=True)
    assert [outcome.dispatch_id for outcome in outcomes] == [first, second]
    assert all(outcome.confirmed for outcome in outcomes)
    assert not any_alive(processes)
    assert [ct.get_result(dispatch_id).error for dispatch_id in (first, second)] == ["enough", "enough"]
    assert ct.get_result(other).status == Status.NEW_OBJECT
    assert ct.cancel(where=sweep) == []


def test_one_that_goes_wrong_cancels_nothing(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(quickly, at=FAR)(tmp_path, "task")

    for arguments, message in (
        ({}, "ct.cancel takes a dispatch id, or where=ct.where"),
        ({"dispatch_id": dispatch_id, "where": ct.where(name="x")}, "ct.cancel takes a dispatch id, or where=ct.where"),
        ({"where": "sweep"}, "where is 'sweep', expected ct.where"),
        ({"where": ct.where(name="x"), "task_ids": 0}, "task_ids are nodes of one dispatch"),
        ({"dispatch_id": dispatch_id, "dry_run": True}, "dry_run=True shows what where="),
    ):
        with pytest.raises(DispatchError, match=message):
            ct.cancel(**arguments)  # type: ignore[call-overload]

    with pytest.raises(DispatchError, match=r"ct.where\(\) says nothing, and would mean every dispatch"):
        ct.where()

    with pytest.raises(DispatchError, match="a tag is a text that is not empty, not ' '"):
        ct.dispatch(quickly, tags=["x", " "])

    with pytest.raises(DispatchError, match="'DONE' is not a valid Status; statuses are: NEW_OBJECT"):
        ct.where(status="DONE")

    assert ct.get_result(dispatch_id).status == Status.NEW_OBJECT


def test_ten_thousand_nodes_of_a_hundred_dispatches_are_settled_in_a_moment(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def wide() -> Any:
        return [ct.electron(len)("x") for _ in range(100)]

    for _ in range(100):
        ct.dispatch(wide, at=FAR, tags="many")()

    kill_dispatcher(home)
    before = time.monotonic()
    outcomes = ct.cancel(where=ct.where(tag="many"))
    seconds = time.monotonic() - before

    assert sum(len(outcome.targets) for outcome in outcomes) == 100 * 101
    assert all(target.outcome == "prevented" for outcome in outcomes for target in outcome.targets if target.stopped)
    assert {result.status for result in ct.list_dispatches(where=ct.where(tag="many"))} == {Status.CANCELLED}
    print(f"settled in {seconds:.2f} s")
    assert seconds < 20


def test_the_command_line_means_many_as_well(home: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "covalent_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    dispatch_id = ct.dispatch(quickly, at=FAR, tags="sweep")(tmp_path, "task")
    assert dispatch_id in run("list", "--tag", "sweep").stdout
    assert dispatch_id not in run("list", "--tag", "other").stdout
    assert run("cancel", "--tag", "sweep", "--dry-run").stdout == f"Dispatch {dispatch_id} would be cancelled.\n"
    assert ct.get_result(dispatch_id).status == Status.NEW_OBJECT
    assert run("cancel", "--name", "quickly", "--older-than", "0s").stdout == f"Dispatch {dispatch_id} canceled.\n"
    assert run("cancel", "--tag", "sweep").returncode == 2
    assert "takes a dispatch id, or where" in run("cancel").stderr
    wait_until(lambda: ct.get_result(dispatch_id).status == Status.CANCELLED)
