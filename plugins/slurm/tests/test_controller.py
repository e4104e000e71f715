"""The controller is stopped in the middle of each step, and started again: no job is lost, and none runs twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster import Cluster
from probes import Stops, alive, wait_until
from tasks import tasks
from test_ends import begun, dispatch, end, handle

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor

TASKS = tasks()


# All of them in a row: they have a cluster for themselves.
pytestmark = pytest.mark.long("stops and starts the controller")


@pytest.fixture
def cluster(own_cluster: Cluster) -> Cluster:
    return own_cluster


@pytest.fixture
def executor(cluster: Cluster, home: Path, tmp_path: Path) -> SlurmExecutor:
    return SlurmExecutor(remote_workdir=str(tmp_path / "far"), grace=0.5)


#: What the node says when a step has met with the controller's absence.
WAITS = {"provision": "sbatch got no answer from the controller", "run": "squeue got no answer"}


@pytest.mark.parametrize("step", ["upload", "provision", "run", "fetch", "release"])
def test_a_job_comes_to_its_end(cluster: Cluster, stops: Stops, executor, home, tmp_path, step: str) -> None:
    stops.take(f"before-{step}")

    if step in ("fetch", "release"):
        (tmp_path / "go").touch()

    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    stops.wait(f"before-{step}")
    cluster.stop_controller()
    stops.leave(f"before-{step}")
    wait_until(lambda: any(call.hook == step for call in stops.calls()))
    wait_until(lambda: WAITS.get(step, "") in (home / "dispatcher.log").read_text())
    (tmp_path / "go").touch()
    cluster.start_controller()
    result = end(dispatch_id)

    assert result.status == Status.COMPLETED, result.error
    assert result.result == "0"
    assert len(begun(tmp_path)) == 1


def test_a_job_whose_number_was_lost_is_found_when_the_controller_is_back(cluster, stops, executor, tmp_path) -> None:
    stops.fail("provision", "lost")
    stops.take("during-provision")
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    stops.wait("during-provision")
    wait_until(lambda: begun(tmp_path))
    # Its folder must not be enough.
    ((job_id, _),) = cluster.jobs(tmp_path).items()
    next((tmp_path / "far").glob("ct-*/job_id")).unlink()
    cluster.stop_controller()
    stops.leave("during-provision")
    wait_until(lambda: any(call.hook == "find" and call.event == "raised" for call in stops.calls()))
    cluster.start_controller()
    (tmp_path / "go").touch()

    assert end(dispatch_id).status == Status.COMPLETED
    assert ct.get_result(dispatch_id).get_node_result(0)["job_handle"] == job_id
    assert len(begun(tmp_path)) == 1


def test_a_running_job_is_cancelled_when_the_controller_is_back(cluster, stops, executor, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    cluster.stop_controller()
    assert ct.cancel(dispatch_id)
    wait_until(lambda: (ct.get_result(dispatch_id).get_node_result(0)["cancelling"] or {}).get("error"))

    assert ct.get_result(dispatch_id).status == Status.CANCELLING
    assert "controller" in ct.get_result(dispatch_id).get_node_result(0)["cancelling"]["error"]
    cluster.start_controller()
    assert end(dispatch_id).status == Status.CANCELLED
    assert not alive(begun(tmp_path)[0])


def test_a_job_ends_while_the_controller_is_away_and_its_value_is_here_before_it_is_back(
    cluster, executor, tmp_path
) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    cluster.stop_controller()
    (tmp_path / "go").touch()
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["status"] == Status.COMPLETED)
    cluster.start_controller()

    assert end(dispatch_id).result == "0"


def waits_for(dispatch_id: str) -> str:
    """Return what the only node says that it waits for."""
    return ct.get_result(dispatch_id).get_node_result(0)["waiting"] or ""


def test_munge_is_stopped(cluster: Cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), poll_freq=0.5, grace=0.5)
    runs = dispatch(TASKS.work, str(tmp_path), "runs", executor=executor)
    wait_until(lambda: begun(tmp_path) and handle(runs))
    socket = cluster.folder / "munge.socket.2"
    socket.rename(aside := socket.with_suffix(".aside"))

    try:
        waits = dispatch(TASKS.work, str(tmp_path), "waits", executor=executor)
        wait_until(lambda: "squeue got no answer" in waits_for(runs))
        wait_until(lambda: "sbatch got no answer" in waits_for(waits))
        assert ct.get_result(runs).status == Status.RUNNING
    finally:
        aside.rename(socket)

    (tmp_path / "go").touch()
    assert [end(dispatch_id).result for dispatch_id in (runs, waits)] == ["runs", "waits"]
    assert len(begun(tmp_path)) == 2
