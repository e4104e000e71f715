"""Who cancels and waits is told of every target when it was known to have ended, or that this is not known yet."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, kill_dispatcher
from tasks import any_alive, finished, gather, held, let_go, quick, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import DispatchError


@ct.lattice
def workflow(folder: Path) -> Any:
    return gather(held(folder, "one"), held(folder, "two"))


def test_when_it_returns_nothing_is_alive_and_each_target_says_since_when(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    processes = tree(tmp_path, "one") + tree(tmp_path, "two")
    outcome = ct.cancel(dispatch_id, wait=True)

    assert not any_alive(processes)
    assert outcome
    assert outcome.confirmed
    assert outcome.unconfirmed == []
    assert {target.outcome for target in outcome.targets} == {"stopping", "prevented"}
    assert all(target.confirmed <= datetime.now(timezone.utc) for target in outcome.targets)
    assert ct.get_result(dispatch_id).status == Status.CANCELLED


def test_only_what_was_named_is_waited_for(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    one, two = tree(tmp_path, "one"), tree(tmp_path, "two")
    outcome = ct.cancel(dispatch_id, task_ids=0, wait=True)

    assert [(target.node_id, bool(target.confirmed)) for target in outcome.targets] == [(0, True)]
    assert any_alive(two)
    assert not any_alive(one)
    let_go(tmp_path, "two")
    assert finished(dispatch_id).status == Status.CANCELLED


def test_the_time_is_up_and_the_cancel_goes_on(home: Path, tmp_path: Path, stops: Stops) -> None:
    stops.take("before-cancel")
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    processes = tree(tmp_path, "one") + tree(tmp_path, "two")
    outcome = ct.cancel(dispatch_id, wait=True, timeout=0.1)

    assert outcome
    assert not outcome.confirmed
    assert outcome.unconfirmed == ["held(0)", "held(3)"]
    assert any_alive(processes)
    stops.leave("before-cancel")
    again = ct.cancel(dispatch_id, wait=True)
    assert not again, "the first one has stopped it"
    assert again.confirmed
    assert not any_alive(processes)


def test_a_dispatcher_that_has_died_is_brought_back_by_who_waits(home: Path, tmp_path: Path, stops: Stops) -> None:
    stops.take("before-cancel")
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    processes = tree(tmp_path, "one") + tree(tmp_path, "two")
    assert not ct.cancel(dispatch_id, wait=True, timeout=0).confirmed
    kill_dispatcher(home)
    stops.leave("before-cancel")

    assert ct.cancel(dispatch_id, wait=True).confirmed
    assert not any_alive(processes)


def test_too_late_is_no_reason_to_wait(home: Path, tmp_path: Path) -> None:
    @ct.lattice
    def small(folder: Path) -> Any:
        return gather(quick(folder, "task"))

    dispatch_id = ct.dispatch_sync(small)(tmp_path).dispatch_id
    outcome = ct.cancel(dispatch_id, task_ids=[0], wait=True)

    assert not outcome
    assert [(target.outcome, target.confirmed) for target in outcome.targets] == [("too late: COMPLETED", None)]
    assert outcome.confirmed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 1}, "timeout=1 bounds the waiting, and nobody waits; say wait=True as well"),
        ({"timeout": float("nan"), "wait": True}, "timeout is nan, expected a number of seconds"),
    ],
)
def test_what_makes_no_sense_cancels_nothing(home: Path, tmp_path: Path, options: Any, words: str) -> None:
    dispatch_id = ct.dispatch(workflow)(tmp_path)

    with pytest.raises(DispatchError, match=words):
        ct.cancel(dispatch_id, **options)

    assert ct.get_result(dispatch_id).get_cancellations() == []
    let_go(tmp_path, "one", "two")
    assert finished(dispatch_id).status == Status.COMPLETED


def test_the_command_line_waits_too(home: Path, tmp_path: Path, stops: Stops) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "covalent_core", "cancel", dispatch_id, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    stops.take("before-cancel")
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    processes = tree(tmp_path, "one") + tree(tmp_path, "two")
    early = run("--wait", "--timeout", "0.1")

    assert early.returncode == 1
    assert early.stderr == "not known to have ended yet: held(0), held(3); the cancel goes on\n"
    stops.leave("before-cancel")
    assert run("--wait").returncode == 2, "the first one has stopped it"
    assert not any_alive(processes)
