"""A stranger's executor works from one page of code, and whatever it does wrong is said and survived."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, alive, wait_until

import covalent_core as ct
from covalent_core import Status, _executors

PLUGINS = Path(__file__).parent.parent / "plugins"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the example executors for this process and for the dispatchers that it starts."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    _executors._entry_points.cache_clear()
    yield
    _executors._entry_points.cache_clear()


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@ct.electron
def note_and_sleep(folder, seconds):
    with open(Path(folder, "pids"), "a") as file:
        file.write(f"{os.getpid()}\n")

    time.sleep(seconds)
    return "done"


def workflow_on(executor: Any) -> Any:
    @ct.lattice(executor=executor)
    def workflow(folder, seconds):
        return note_and_sleep(folder, seconds)

    return workflow


def scripted(workdir: Path, **faults: int) -> Any:
    return ct.executor.ScriptedExecutor(str(workdir), {name.replace("_", "-"): n for name, n in faults.items()})


def calls(workdir: Path) -> list[str]:
    return (workdir / "calls").read_text().splitlines()


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()] if (folder / "pids").exists() else []


def test_a_plain_executor_with_blocking_hooks(home: Path, tmp_path: Path, workdir: Path) -> None:
    workflow = workflow_on(ct.executor.FolderExecutor(str(workdir)))
    assert ct.dispatch_sync(workflow)(tmp_path, 0).result == "done"

    dispatch_id = ct.dispatch(workflow)(tmp_path, 60)
    wait_until(lambda: len(pids(tmp_path)) == 2)
    ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True, timeout=10).status == Status.CANCELLED
    assert not any(alive(pid) for pid in pids(tmp_path))
    assert list(workdir.iterdir()) == []


def test_the_steps_in_their_order_and_one_context_for_all_jobs(home: Path, tmp_path: Path, workdir: Path) -> None:
    workflow = workflow_on(scripted(workdir))
    first = ct.dispatch_sync(workflow)(tmp_path, 0)
    second = ct.dispatch_sync(workflow)(tmp_path, 0)
    steps = ["upload", "provision", "run", "fetch", "release True"]

    assert [first.result, second.result] == ["done", "done"]
    assert calls(workdir) == ["enter", *steps, *steps]


def test_progress_that_a_hook_reports_is_shown(home: Path, tmp_path: Path, workdir: Path) -> None:
    dispatch_id = ct.dispatch(workflow_on(scripted(workdir)))(tmp_path, 60)
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["progress"] == "1 of 2 bytes")
    assert ct.cancel(dispatch_id)


def test_a_lost_answer_of_provision_is_found_again(home: Path, tmp_path: Path, workdir: Path) -> None:
    result = ct.dispatch_sync(workflow_on(scripted(workdir, provision_answer_lost=1, find=1)))(tmp_path, 0)

    assert result.result == "done"
    assert len(pids(tmp_path)) == 1
    assert calls(workdir)[2:5] == ["provision", "find", "find"]


def test_an_unreachable_backend_is_visible_until_the_cancel_is_confirmed(
    home: Path, tmp_path: Path, workdir: Path
) -> None:
    dispatch_id = ct.dispatch(workflow_on(scripted(workdir, cancel=3)))(tmp_path, 60)
    wait_until(lambda: pids(tmp_path))
    ct.cancel(dispatch_id)
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["cancelling"]["error"])
    result = ct.get_result(dispatch_id)
    (pid,) = pids(tmp_path)

    assert result.status == Status.CANCELLING
    assert alive(pid)
    assert "last error: ConnectionError: the backend is unreachable (cancel), next attempt at 20" in str(result)

    while not ct.get_result(dispatch_id).status.terminal:
        assert not ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id).status == Status.CANCELLED
    assert not alive(pid)
    assert calls(workdir).count("cancel ['dispatch_id', 'node_id']") == 4
    assert calls(workdir)[-1] == "release True"


def test_asking_again_makes_an_attempt_now(home: Path, tmp_path: Path, workdir: Path) -> None:
    dispatch_id = ct.dispatch(workflow_on(scripted(workdir, cancel=6)))(tmp_path, 60)
    wait_until(lambda: pids(tmp_path))
    ct.cancel(dispatch_id)
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["cancelling"]["attempts"] >= 4)
    before = calls(workdir).count("cancel ['dispatch_id', 'node_id']")
    asked = time.monotonic()
    again = ct.cancel(dispatch_id)
    wait_until(lambda: calls(workdir).count("cancel ['dispatch_id', 'node_id']") > before)

    assert not again
    assert [target.outcome for target in again.targets] == ["already cancelling"]
    # After four attempts the pause is 1.6 s.
    assert time.monotonic() - asked < 1
    ct.get_result(dispatch_id, wait=True, timeout=30)


@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        ("enter", "pickle", "ConnectionError: the backend is unreachable (enter)"),
        ("upload", "upload", "ConnectionError: the backend is unreachable (upload)"),
        (
            "upload_none",
            "upload",
            "ExecutorPluginError: ScriptedExecutor.upload returned None, expected str, not empty",
        ),
        ("fetch", "fetch", "ConnectionError: the backend is unreachable (fetch)"),
    ],
)
def test_a_step_that_fails_names_itself(
    home: Path, tmp_path: Path, workdir: Path, fault: str, step: str, words: str
) -> None:
    result = ct.dispatch_sync(workflow_on(scripted(workdir, **{fault: 1})))(tmp_path, 0)

    assert result.status == Status.FAILED
    message = f"task 0 of dispatch {result.dispatch_id} failed in {step!r}: {words}"
    assert result.get_node_result(0)["error"] == message
    assert not any(alive(pid) for pid in pids(tmp_path))
    assert [name for name in os.listdir(workdir) if name != "calls"] == []


def test_a_hook_may_cancel_its_own_task(home: Path, tmp_path: Path, workdir: Path) -> None:
    result = ct.dispatch_sync(workflow_on(scripted(workdir, upload_cancels=1)))(tmp_path, 0)

    assert result.status == Status.CANCELLED
    assert result.get_node_result(0)["error"] == "the quota is used up"
    assert calls(workdir) == ["enter", "upload", "release False"]


def test_a_release_that_fails_is_recorded_and_stops_nothing(home: Path, tmp_path: Path, workdir: Path) -> None:
    from covalent_core._home import find_home
    from covalent_core._store import Store

    result = ct.dispatch_sync(workflow_on(scripted(workdir, release=1)))(tmp_path, 0)
    (job,) = Store(find_home()).get_jobs(result.dispatch_id)

    assert result.status == Status.COMPLETED
    assert job.error == "release failed: ConnectionError: the backend is unreachable (release)"
    assert calls(workdir).count("release True") == 1


@pytest.mark.parametrize("step", ["pickle", "upload", "provision", "run", "fetch"])
def test_no_step_starts_after_a_cancel(home: Path, tmp_path: Path, workdir: Path, stops: Stops, step: str) -> None:
    stops.take(f"before-{step}")
    dispatch_id = ct.dispatch(workflow_on(scripted(workdir)))(tmp_path, 0)
    stops.wait(f"before-{step}")
    before = calls(workdir) if (workdir / "calls").exists() else []
    ct.cancel(dispatch_id)
    stops.leave(f"before-{step}")
    result = ct.get_result(dispatch_id, wait=True, timeout=10)
    after = calls(workdir)[len(before) :] if (workdir / "calls").exists() else []

    assert result.status == Status.CANCELLED
    assert {call.split()[0] for call in after} <= {"cancel", "find", "release"}
    assert sum(call.startswith("release") for call in after) == (step != "pickle")
    # Not even the executor has been made where nothing had been done yet.
    assert (step == "pickle") == (before == [])
