"""Jobs that somebody else ends: the node says who, in plain words."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from commands import SlurmCommands
from probes import alive, kill_dispatcher, processes_with, wait_until
from tasks import tasks

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.store import Store
from covalent_core_slurm import SlurmExecutor
from covalent_core_slurm._answers import SACCT_FORMAT, parse_sacct

TASKS = tasks()


def dispatch(function: Any, *arguments: Any, executor: SlurmExecutor, retries: int = 0) -> str:
    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function, retries=retries)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def begun(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.glob("begun-*") if file.read_text()]


def end(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True, timeout=300)


def handle(dispatch_id: str) -> str:
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["job_handle"])
    return str(ct.get_result(dispatch_id).get_node_result(0)["job_handle"])


@pytest.fixture
def executor(cluster: Cluster, home: Path, tmp_path: Path) -> SlurmExecutor:
    return SlurmExecutor(remote_workdir=str(tmp_path / "far"), grace=0.5, settle_seconds=1)


@pytest.mark.parametrize(("task", "arguments"), [(TASKS.work, ()), (TASKS.clean_up, (0,))], ids=["work", "checkpoint"])
def test_a_job_that_is_cancelled_from_outside_is_not_tried_again(cluster, executor, tmp_path, task, arguments) -> None:
    dispatch_id = dispatch(task, str(tmp_path), *arguments, executor=executor, retries=2)
    wait_until(lambda: begun(tmp_path))
    job_id = handle(dispatch_id)
    cluster.run("scancel", job_id)
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert f"Slurm job {job_id} did not end by itself: it was cancelled from outside" in str(result.error)
    assert len(begun(tmp_path)) == 1
    assert not alive(begun(tmp_path)[0])


def test_a_job_that_is_cancelled_from_outside_while_it_waits(cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), options={"begin": "now+1hour"})
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    cluster.run("scancel", handle(dispatch_id))
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert "it was cancelled from outside" in str(result.error)
    assert not begun(tmp_path)


def test_an_element_of_an_array_that_is_cancelled_from_outside_while_it_waits(cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), options={"begin": "now+1hour"}, settle_seconds=1)

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return [ct.electron(TASKS.work, retries=2)(str(tmp_path), str(number)) for number in range(3)]

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: len([row for row in rows(dispatch_id) if row.handle]) == 3)
    element = str(rows(dispatch_id)[1].handle)
    cluster.run("scancel", element)
    wait_until(lambda: node_of(dispatch_id, element)["status"] == Status.FAILED)

    assert "it was cancelled from outside" in str(node_of(dispatch_id, element)["error"])
    assert len(cluster.living(tmp_path)) == 2
    assert ct.cancel(dispatch_id)
    end(dispatch_id)


def node_of(dispatch_id: str, job_id: str) -> Any:
    """Return the node that runs, or ran, in a job."""
    (node_id,) = (row.node_id for row in rows(dispatch_id) if row.handle == job_id)
    return ct.get_result(dispatch_id).get_node_result(node_id)


def rows(dispatch_id: str) -> list[Any]:
    """Return the jobs of a dispatch, besides the one on this machine that gathers their values."""
    return [row for row in Store(find_home()).get_jobs(dispatch_id) if "." not in (row.handle or "")]


def test_a_job_that_uses_more_memory_than_it_was_given(cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, mem="100M")
    result = end(dispatch(TASKS.fill, str(tmp_path), 400, executor=executor, retries=2))

    assert result.status == Status.FAILED
    assert "it used more memory than it was given (OUT_OF_MEMORY" in str(result.error)
    assert "ask for more with mem=" in str(result.error)
    check_accounted(cluster, handle(result.dispatch_id), "OUT_OF_MEMORY")
    assert len(begun(tmp_path)) == 1


def check_accounted(cluster: Cluster, job_id: str, state: str) -> None:
    """See that the accounting says the same as the controller, in the form that is expected."""

    def says() -> list[str]:
        output = cluster.run("sacct", "-n", "-X", "-P", "-j", job_id, f"--format={SACCT_FORMAT}")
        return [record.state for record in parse_sacct(output) if record.job_id == job_id]

    # It hears of it from the controller, a moment later.
    wait_until(lambda: says() == [state])


def test_a_job_that_is_put_back_into_the_queue_does_not_begin_its_task_twice(cluster, executor, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    requeue(cluster, handle(dispatch_id))
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert "Slurm has put it back into its queue when its task had begun" in str(result.error)
    assert len(begun(tmp_path)) == 1
    assert cluster.living(tmp_path) == {}


def test_a_job_that_is_put_back_into_the_queue_is_tried_again_by_the_core(cluster, executor, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor, retries=1)
    wait_until(lambda: begun(tmp_path))
    requeue(cluster, handle(dispatch_id))
    wait_until(lambda: len(begun(tmp_path)) == 2)
    (tmp_path / "go").touch()

    assert end(dispatch_id).status == Status.COMPLETED


@pytest.mark.long("Slurm waits before it starts a job again")
def test_a_job_that_slurm_starts_again_while_no_dispatcher_lives(cluster, executor, home, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    job_id = handle(dispatch_id)
    kill_dispatcher(home)
    requeue(cluster, job_id)
    wait_until(lambda: [state for _, state in cluster.jobs(tmp_path).values()] == ["FAILED"])
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert "Slurm has put it back into its queue when its task had begun" in str(result.error)
    assert "the task is not begun a second time" in str(result.error)
    assert len(begun(tmp_path)) == 1


def test_a_job_that_has_been_put_back_into_the_queue_is_cancelled(cluster, stops, executor, tmp_path) -> None:
    stops.take("during-run")
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    # Held as well: it would begin again in some seconds.
    requeue(cluster, handle(dispatch_id), "requeuehold")
    wait_until(lambda: [state for _, state in cluster.jobs(tmp_path).values()] == ["PENDING"])
    assert ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert [state for _, state in cluster.jobs(tmp_path).values()] == ["CANCELLED"]
    assert len(begun(tmp_path)) == 1


def requeue(cluster: Cluster, job_id: str, command: str = "requeue") -> None:
    # As an administrator can: the script has said that it does not want it.
    cluster.run("scontrol", "update", f"JobId={job_id}", "Requeue=1")
    cluster.run("scontrol", command, job_id)


def test_a_task_that_has_ended_needs_no_controller_that_remembers(cluster, home, tmp_path) -> None:
    commands = SlurmCommands(tmp_path / "bin")
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, slurm_path=str(commands.folder))
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path) and handle(dispatch_id))
    kill_dispatcher(home)
    (tmp_path / "go").touch()
    wait_until(lambda: not cluster.living(tmp_path))
    commands.forget_all()

    assert end(dispatch_id).result == "0"


@pytest.mark.parametrize(
    ("accounted", "words"),
    [
        ("exit 1", "Slurm no longer knows job {}, and its runner left no end"),
        ("echo '{}|NODE_FAIL|0:0|{}'", "a node that it ran on failed (NODE_FAIL)"),
        ("echo '{}|NODE_FAIL|0:0|another'", "Slurm no longer knows job {}"),
    ],
)
def test_what_is_known_of_a_job_that_the_controller_has_forgotten(cluster, home, tmp_path, accounted, words) -> None:
    commands = SlurmCommands(tmp_path / "bin")
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, slurm_path=str(commands.folder))
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    job_id = handle(dispatch_id)
    # To ask for a result would start it again.
    kill_dispatcher(home)
    ((name, _),) = cluster.jobs(tmp_path).values()
    # Slurm kills one after the other, and nobody is to say of another that it was killed.
    running = processes_with("SLURM_JOB_NAME", name)
    assert len(running) >= 3

    for pid in running:
        os.kill(pid, signal.SIGSTOP)

    cluster.run("scancel", "--batch", "--signal=KILL", job_id)
    wait_until(lambda: not cluster.living(tmp_path))
    commands.forget_all(accounted.format(job_id, name))
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert words.format(job_id) in str(result.error)


@pytest.mark.long("the shortest time limit is a minute")
def test_a_job_whose_time_is_over(cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, time=1)
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    # A minute is the shortest limit there is.
    cluster.run("scontrol", "update", f"JobId={handle(dispatch_id)}", "EndTime=now+1")
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert "its time limit was reached (TIMEOUT" in str(result.error)
    assert "ask for more with time=" in str(result.error)
    check_accounted(cluster, handle(dispatch_id), "TIMEOUT")
    assert not alive(begun(tmp_path)[0])


def test_a_job_whose_node_fails(cluster, home, tmp_path) -> None:
    # A node that no other test needs.
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, partition="spare")
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    node = cluster.run("squeue", "-h", "-j", handle(dispatch_id), "-o", "%N").strip()
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    try:
        result = end(dispatch_id)
    finally:
        # It may have come back by itself.
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        wait_until(lambda: cluster.run("sinfo", "-h", "-n", node, "-o", "%T").strip() == "idle")

    assert result.status == Status.FAILED
    assert "a node that it ran on failed (NODE_FAIL" in str(result.error)
    check_accounted(cluster, handle(dispatch_id), "NODE_FAIL")
    wait_until(lambda: not alive(begun(tmp_path)[0]))


def test_a_task_that_is_killed_in_a_job_that_goes_on_says_so_itself(cluster, executor, tmp_path) -> None:
    result = end(dispatch(TASKS.die, str(tmp_path), executor=executor))

    assert result.status == Status.FAILED
    assert "ended by signal 9 (SIGKILL)" in str(result.error)


def test_a_wrong_option_is_refused_in_the_words_of_slurm(cluster, home, tmp_path) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), partition="nosuch")
    result = end(dispatch(TASKS.work, str(tmp_path), executor=executor))

    assert result.status == Status.FAILED
    assert "sbatch was refused: sbatch: error: invalid partition specified: nosuch" in str(result.error), result.error
    assert not begun(tmp_path)
    assert list((tmp_path / "far").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"python_path": "/no/python"}, "/no/python: No such file or directory"),
        ({"prerun_commands": ["echo wrong module >&2; false"]}, "wrong module"),
    ],
)
def test_a_script_that_does_not_come_to_the_task_says_why(cluster, home, tmp_path, options, words) -> None:
    executor = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, **options)
    result = end(dispatch(TASKS.work, str(tmp_path), executor=executor))

    assert result.status == Status.FAILED
    assert "its script ended with an error (FAILED, NonZeroExitCode, exit code 1" in str(result.error)
    assert words in str(result.error)
