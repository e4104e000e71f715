"""A stranger's executor works from one page of code, and whatever it does wrong is said and survived."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from probes import Stops, alive, dispatchers_of, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core._client import spawn
from covalent_core._client.spawn import ensure_dispatcher, stop_dispatcher
from covalent_core._detached import DetachedProcess
from covalent_core._home import find_home


@pytest.fixture(autouse=True)
def plugins(installed_examples: None) -> None:
    """Install the examples."""


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
    workflow = workflow_on(ct.executor.FolderExecutor(folder=str(workdir)))
    assert ct.dispatch_sync(workflow)(tmp_path, 0).result == "done"

    dispatch_id = ct.dispatch(workflow)(tmp_path, 60)
    wait_until(lambda: len(pids(tmp_path)) == 2)
    ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.CANCELLED
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
    ct.get_result(dispatch_id, wait=True, timeout=60)
    assert "cancel ['dispatch_id', 'node_id']" in calls(workdir)


@pytest.mark.parametrize(("fault", "runs"), [("run_ends_once", 2), ("run_ends_always", 1)])
def test_a_job_that_its_backend_ended_is_tried_again_where_that_helps(
    home: Path, tmp_path: Path, workdir: Path, fault: str, runs: int
) -> None:
    @ct.lattice(executor=scripted(workdir, **{fault: 1}), retries=3)
    def workflow(folder):
        return note_and_sleep(folder, 0)

    result = ct.dispatch_sync(workflow)(tmp_path)
    node = result.get_node_result(0)

    assert calls(workdir).count("run") == runs
    assert result.status == (Status.COMPLETED if runs == 2 else Status.FAILED)
    assert runs == 2 or "JobEndedError: the backend has ended the job" in node["error"]
    assert [attempt["step"] for attempt in node["attempts"]] == ["run"] * (runs - 1)


@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        ("enter", "pickle", "ConnectionError: the backend is unreachable (enter)"),
        (
            "upload_none",
            "upload",
            "ExecutorPluginError: ScriptedExecutor.upload returned None, expected str, not empty",
        ),
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


def test_a_dispatcher_of_another_environment_says_which_and_a_new_one_takes_its_place(
    home: Path, tmp_path: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PYTHONPATH"]
    # Not forked from a process that may know the plugin.
    monkeypatch.setattr(spawn, "DetachedProcess", DetachedProcess)
    monkeypatch.delenv("PYTHONPATH")
    ensure_dispatcher(find_home())
    (other,) = dispatchers_of(home)
    monkeypatch.setenv("PYTHONPATH", path)
    result = ct.dispatch_sync(workflow_on(scripted(workdir)))(tmp_path, 0)
    error = result.get_node_result(0)["error"]

    assert result.status == Status.FAILED
    assert "ExecutorNotFoundError: no executor named 'scripted'; installed: local" in error
    assert f"the dispatcher of {home}, process {other} ({sys.executable}, covalent-core {ct.__version__})" in error
    assert "'covalent-core stop'" in error

    assert stop_dispatcher(find_home())
    again = ct.redispatch(result.dispatch_id)()
    assert ct.get_result(again, wait=True, timeout=60).result == "done"


def test_a_hook_may_cancel_its_own_task(home: Path, tmp_path: Path, workdir: Path) -> None:
    result = ct.dispatch_sync(workflow_on(scripted(workdir, upload_cancels=1)))(tmp_path, 0)

    assert result.status == Status.CANCELLED
    assert result.get_node_result(0)["error"] == "the quota is used up"
    assert calls(workdir) == ["enter", "upload", "release False"]


def test_an_executor_that_was_never_needed_is_never_made(
    home: Path, tmp_path: Path, workdir: Path, stops: Stops
) -> None:
    stops.take("before-pickle")
    dispatch_id = ct.dispatch(workflow_on(scripted(workdir)))(tmp_path, 0)
    stops.wait("before-pickle")
    ct.cancel(dispatch_id)
    stops.leave("before-pickle")

    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.CANCELLED
    assert list(workdir.iterdir()) == []
