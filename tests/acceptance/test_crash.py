"""The dispatcher dies: nothing that was acknowledged is lost, nothing runs twice, no cancel is forgotten."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from probes import Stops, alive, kill_dispatcher, processes_of, wait_until

import covalent_core as ct
from covalent_core import Status

#: Where a job is when all its steps are done. The stops of the steps are those of the suite for executors.
ENDING = ["before-end", "after-end", "before-release"]


@ct.electron
def count(folder, name, seconds):
    with open(Path(folder, name), "a") as file:
        file.write(f"{os.getpid()}\n")

    time.sleep(seconds)
    return name


@ct.lattice
def one(folder, seconds):
    return count(folder, "runs", seconds)


@ct.lattice
def three(folder, seconds):
    return [count(folder, f"runs-{place}", seconds) for place in range(3)]


def runs_in(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def nothing_left(home: Path) -> bool:
    return not list((home / "jobs").glob("ct-*"))


@pytest.mark.parametrize("name", ENDING)
def test_killed_at_a_stop_the_next_dispatcher_goes_on_from_there(
    home: Path, tmp_path: Path, stops: Stops, name: str
) -> None:
    stops.take(name)
    dispatch_id = ct.dispatch(one)(tmp_path, 0.1)
    stops.wait(name)
    kill_dispatcher(home)
    stops.leave(name)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.COMPLETED, result.error
    assert result.result == "runs"
    assert len(runs_in(tmp_path / "runs")) == 1
    assert nothing_left(home)


def test_killed_before_the_end_of_a_sublattice_is_stored_nothing_stands_still(
    home: Path, tmp_path: Path, stops: Stops
) -> None:
    @ct.lattice
    def inner(folder):
        count(folder, "runs", 0)
        return ct.electron(bytes)(100_000)

    @ct.lattice
    def outer(folder):
        return inner(folder)

    stops.take("before-sublattice-end")
    dispatch_id = ct.dispatch(outer)(tmp_path)
    stops.wait("before-sublattice-end")
    kill_dispatcher(home)
    assert list((home / "values" / dispatch_id).glob("output-*")), "the output is in place and its end is not stored"
    stops.leave("before-sublattice-end")
    beside = ct.dispatch(one)(tmp_path, 0)

    assert ct.get_result(beside, wait=True, timeout=60).status == Status.COMPLETED
    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == bytes(100_000)
    assert len(runs_in(tmp_path / "runs")) == 2
    assert nothing_left(home)


def test_killed_before_the_end_is_stored_a_cancel_given_meanwhile_wins(
    home: Path, tmp_path: Path, stops: Stops
) -> None:
    stops.take("before-end")
    dispatch_id = ct.dispatch(one)(tmp_path, 0)
    stops.wait("before-end")
    kill_dispatcher(home)
    stops.leave("before-end")

    assert ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.CANCELLED
    assert nothing_left(home)


@pytest.mark.long("kills ten dispatchers, one after the other")
@pytest.mark.parametrize("part", range(5))
def test_killed_fifty_times_at_random_moments(home: Path, tmp_path: Path, part: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    for round_ in range(10):
        folder = tmp_path / str(round_)
        folder.mkdir()
        dispatch_id = ct.dispatch(three)(folder, 0.2)
        pause = chance.uniform(0, 0.6)
        time.sleep(pause)
        kill_dispatcher(home)
        cancelled = chance.random() < 0.3 and ct.cancel(dispatch_id)
        result = ct.get_result(dispatch_id, wait=True, timeout=60)
        runs = [runs_in(folder / f"runs-{place}") for place in range(3)]

        assert result.status == (Status.CANCELLED if cancelled else Status.COMPLETED), (
            round_,
            pause,
            result.error,
        )
        assert all(len(run) <= 1 for run in runs), (round_, pause, runs)
        assert cancelled or all(len(run) == 1 for run in runs), (round_, pause, runs)
        assert nothing_left(home)


def test_a_task_that_runs_while_no_dispatcher_lives_keeps_its_result(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(one)(tmp_path, 0.5)
    wait_until(lambda: runs_in(tmp_path / "runs"))
    kill_dispatcher(home)
    (pid,) = runs_in(tmp_path / "runs")
    wait_until(lambda: not alive(pid))
    wait_until(lambda: not processes_of(home))

    assert ct.get_result(dispatch_id, wait=True, timeout=60).result == "runs"
    assert len(runs_in(tmp_path / "runs")) == 1
