"""A signal that Slurm sends some time before the end of a job is a warning, and not that end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from probes import wait_until
from tasks import tasks
from test_ends import dispatch, end, handle

from covalent_core import Status
from covalent_core_slurm import SlurmExecutor

TASKS = tasks()


def warned_task() -> Any:
    """Return a task that travels by value."""

    def be_warned(folder, name):
        """Go on until there is a file ``go``, and note that a signal has come."""
        import os
        import signal
        import time

        import covalent_core as ct

        def note(signum, frame) -> None:
            open(os.path.join(folder, "came-" + signal.Signals(signum).name), "w").close()

        signal.signal(getattr(signal, name), note)
        open(os.path.join(folder, "waits"), "w").close()

        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.01)

        return ct.current_task().cancel_requested, ct.current_task().deadline

    return be_warned


@pytest.fixture
def options(cluster: Cluster, home: Path, tmp_path: Path) -> dict[str, Any]:
    return {"remote_workdir": str(tmp_path / "far"), "time": 5, "settle_seconds": 1}


WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "exec": ({}, ["--batch"]),
    "postrun": ({"postrun_commands": ["true"]}, ["--batch"]),
    "srun": ({"use_srun": True}, ["--batch"]),
    "step": ({"use_srun": True}, []),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_function_hears_of_the_signal_that_it_waits_for(cluster, options, tmp_path, way: str) -> None:
    more, whom = WAYS[way]
    executor = SlurmExecutor(**options, **more, options={"signal": "USR1@60" if way == "step" else "B:USR1@60"})
    before = time.time()
    dispatch_id = dispatch(warned_task(), str(tmp_path), "SIGUSR1", executor=executor)
    wait_until((tmp_path / "waits").exists)
    send(cluster, dispatch_id, "USR1", whom)
    wait_until(lambda: came(tmp_path))
    (tmp_path / "go").touch()
    result = end(dispatch_id)

    assert result.status == Status.COMPLETED, result.error
    cancel_requested, deadline = result.result
    assert came(tmp_path) == ["SIGUSR1"]
    assert not cancel_requested
    assert before + 290 < deadline < time.time() + 310


@pytest.mark.parametrize("way", ["exec", "srun", "step"])
def test_a_function_that_waits_for_no_signal_goes_on(cluster, options, tmp_path, way: str) -> None:
    more, whom = WAYS[way]
    executor = SlurmExecutor(**options, **more, options={"signal": "B:USR1@60"})
    dispatch_id = dispatch(warned_task(), str(tmp_path), "SIGUSR2", executor=executor)
    wait_until((tmp_path / "waits").exists)
    send(cluster, dispatch_id, "USR1", whom)
    # It comes after the first.
    send(cluster, dispatch_id, "USR2", whom)
    wait_until(lambda: came(tmp_path))
    (tmp_path / "go").touch()

    assert end(dispatch_id).status == Status.COMPLETED
    assert came(tmp_path) == ["SIGUSR2"]


def came(folder: Path) -> list[str]:
    """Return the signals that the function has heard of."""
    return [file.name.split("-")[1] for file in folder.glob("came-*")]


def send(cluster: Cluster, dispatch_id: str, signal: str, whom: list[str]) -> None:
    """Let the controller send a signal, as it does itself some time before the end of a job."""
    cluster.run("scancel", f"--signal={signal}", *whom, handle(dispatch_id))


def test_what_comes_before_the_task_goes_on(cluster, options, tmp_path) -> None:
    wait = f"touch {tmp_path}/prepares; while [ ! -e {tmp_path}/prepared ]; do sleep 0.05; done"
    executor = SlurmExecutor(**options, prerun_commands=[wait], options={"signal": "B:USR2@60"})
    (tmp_path / "go").touch()
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until((tmp_path / "prepares").exists)
    send(cluster, dispatch_id, "USR2", ["--batch"])
    (tmp_path / "prepared").touch()

    assert end(dispatch_id).result == "0"


@pytest.mark.long("Slurm looks at what time is left every half a minute")
def test_the_signal_comes_some_time_before_the_end(cluster, options, tmp_path) -> None:
    executor = SlurmExecutor(**{**options, "time": 1}, options={"signal": "B:USR1@59"})
    dispatch_id = dispatch(warned_task(), str(tmp_path), "SIGUSR1", executor=executor)
    # The controller looks at the time that is left every half a minute.
    wait_until(lambda: came(tmp_path))
    (tmp_path / "go").touch()

    assert end(dispatch_id).status == Status.COMPLETED
