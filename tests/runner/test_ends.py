"""What ends a task is said in its outcome, in a field of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import TICKET, job_of, outcome_in, outcome_of, results, start
from probes import alive, wait_until

from covalent_core._runner import tree
from covalent_core._runner.lease import Lease


def end_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_by_real_time_signal() -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 1)


def end_by_exit() -> None:
    os._exit(3)


def raise_error() -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        (end_by_signal, "signal 9"),
        (end_by_real_time_signal, f"signal {signal.SIGRTMIN + 1}"),
        (end_by_exit, "exit 3"),
        (raise_error, None),
    ],
)
def test_what_a_function_does_to_itself(tmp_path: Path, function: Callable[[], None], cause: str | None) -> None:
    header, _ = outcome_of(tmp_path, function)
    assert (header["status"], header["ended_by"]) == ("FAILED", cause)
    assert list(header)[:2] == ["status", "ended_by"]


def test_who_takes_too_long(tmp_path: Path) -> None:
    header, _ = outcome_of(tmp_path, lambda: time.sleep(60), timeout=0.2)
    assert (header["status"], header["ended_by"]) == ("FAILED", "timeout")


@pytest.mark.parametrize("timeout", [30 * 86400.0, 1e300])
def test_who_may_take_very_long(tmp_path: Path, timeout: float) -> None:
    header, _ = outcome_of(tmp_path, lambda: None, timeout=timeout)
    assert header["status"] == "COMPLETED", header["error"]


@pytest.mark.parametrize("polite", [False, True])
def test_who_is_told_to_end(tmp_path: Path, polite: bool) -> None:
    def hold(folder: str) -> None:
        if polite:
            signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))

        open(f"{folder}/begun", "w").close()
        time.sleep(60)

    folder = str(tmp_path)
    runner = start(job_of(lambda: hold(folder)), tmp_path)
    wait_until((tmp_path / "begun").exists)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(20) == 0
    header, _ = outcome_in(tmp_path)
    assert (header["status"], header["ended_by"]) == ("FAILED" if polite else "TERMINATED", "told")


def test_who_is_told_to_end_and_completes_has_ended_by_itself(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def finish() -> None:
        told: list[int] = []
        signal.signal(signal.SIGTERM, lambda signum, frame: told.append(signum))
        open(f"{folder}/begun", "w").close()

        while not told:
            time.sleep(0.01)

    runner = start(job_of(finish), tmp_path)
    wait_until((tmp_path / "begun").exists)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(20) == 0
    header, _ = outcome_in(tmp_path)
    assert (header["status"], header["ended_by"]) == ("COMPLETED", None)


def test_a_member_that_is_cancelled(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def hold() -> None:
        open(f"{folder}/begun", "w").close()
        time.sleep(60)

    runner = start(job_of(hold, lambda: None, lambda: None), tmp_path)
    wait_until((tmp_path / "begun").exists)
    (results(tmp_path) / "part").write_text("[3, 4]")
    (results(tmp_path) / "part").rename(results(tmp_path) / f"{TICKET}.cancel")
    assert runner.wait(20) == 0
    causes = [outcome_in(tmp_path, node_id)[0]["ended_by"] for node_id in (3, 4, 5)]
    assert causes == ["cancel", "cancel", None]


# --- the lease ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [-1000, 1000])
def test_a_lease_does_not_compare_the_clocks_of_two_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: float
) -> None:
    file = tmp_path / "lease"
    now = 5000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lease = Lease(str(file), 60)

    for second in range(50, 500, 50):
        now = 5000.0 + second
        os.utime(file, (time.time() - behind + second,) * 2)
        assert not lease.is_over

    now += 59
    assert not lease.is_over
    now += 2
    assert lease.is_over


def test_a_lease_that_cannot_be_looked_at_is_over_in_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lease = Lease(str(tmp_path / "lease"), 60)
    assert not lease.is_over
    (tmp_path / "lease").unlink()
    now += 30
    assert not lease.is_over
    now += 31
    assert lease.is_over


def test_a_task_whose_lease_is_touched_goes_on_and_ends_when_it_is_not(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def hold() -> None:
        with open(f"{folder}/pid", "w") as file:
            print(os.getpid(), file=file)

        time.sleep(60)

    runner = start(job_of(hold), tmp_path, "--lease", "0.6")
    lease = results(tmp_path) / f"{TICKET}.lease"
    wait_until(lambda: lease.exists() and (tmp_path / "pid").exists())
    begun = time.monotonic()

    while time.monotonic() < begun + 1.5:
        # By a clock that is far behind.
        os.utime(lease, (time.monotonic(),) * 2)
        assert runner.poll() is None
        time.sleep(0.05)

    assert runner.wait(20) == 0
    header, _ = outcome_in(tmp_path)
    assert (header["status"], header["ended_by"]) == ("FAILED", "lease")
    assert header["error"].startswith("the dispatcher has not been heard for 0.6 s")
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_task_with_a_lease_follows_an_order_to_end_that_is_left_in_a_file(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def hold() -> None:
        open(f"{folder}/begun", "w").close()
        time.sleep(60)

    runner = start(job_of(hold), tmp_path, "--lease", "inf")
    wait_until((tmp_path / "begun").exists)
    (results(tmp_path) / "part").write_text("[3]")
    (results(tmp_path) / "part").rename(results(tmp_path) / f"{TICKET}.cancel")
    assert runner.wait(20) == 0
    header, _ = outcome_in(tmp_path)
    assert (header["status"], header["ended_by"]) == ("TERMINATED", "cancel")


# --- what is left of a task that has ended -----------------------------------------------------------------------


@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_daemon_that_loses_its_parent_during_the_look_is_seen(monkeypatch: pytest.MonkeyPatch, between: int) -> None:
    """Its parent ends before the first look, between the two, or after them."""
    supervisor, worker, parent, daemon = os.getpid(), 2, 3, 4
    looks: list[Any] = []

    def children(pid: int) -> list[int]:
        orphaned = len(looks) >= between
        looks.append(pid)
        below = {supervisor: [worker, daemon] if orphaned else [worker], worker: [] if orphaned else [parent]}
        return below[pid]

    monkeypatch.setattr(tree, "children", children)
    assert tree.Tree(worker).strays()
