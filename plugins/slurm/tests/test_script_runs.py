"""What the script is told to do happens in a real job."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from probes import alive, wait_until
from tasks import tasks
from test_ends import begun, dispatch, end

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor
from covalent_core_slurm._folders import Folders
from covalent_core_slurm._login_node import LoginNode

TASKS = tasks()


@pytest.fixture
def options(cluster: Cluster, home: Path, tmp_path: Path) -> dict[str, Any]:
    return {"remote_workdir": str(tmp_path / "far"), "settle_seconds": 1}


def test_variables_and_commands_before_and_after(options, tmp_path) -> None:
    (tmp_path / "rc").write_text("export FROM_RC=rc\n")
    executor = SlurmExecutor(
        **options,
        bashrc_path=str(tmp_path / "rc"),
        variables={"TITLE": "a 'b' $c"},
        prerun_commands=["export BEFORE=x"],
        postrun_commands=[f"touch {tmp_path}/after"],
        options={"reservation": False, "exclusive": None},
        ntasks=2,
        mem="100M",
    )
    result = end(dispatch(TASKS.environment, "FROM_RC", "TITLE", "BEFORE", "SLURM_NTASKS", executor=executor))

    assert result.result == ["rc", "a 'b' $c", "x", "2"], result.error
    assert (tmp_path / "after").exists()


def test_the_deadline_is_that_of_the_job(options) -> None:
    before = time.time()
    result = end(dispatch(TASKS.environment, "COVALENT_CORE_DEADLINE", executor=SlurmExecutor(**options, time="2:00")))

    assert before + 100 < float(result.result[0]) < time.time() + 125


def test_a_task_runs_in_the_workdir_or_in_a_folder_of_its_own(options) -> None:
    shared = end(dispatch(TASKS.where, executor=SlurmExecutor(**options)))
    unique = end(dispatch(TASKS.where, executor=SlurmExecutor(**options, create_unique_workdir=True)))

    assert shared.result == options["remote_workdir"]
    assert unique.result == f"{options['remote_workdir']}/{unique.dispatch_id}/node_0"
    assert list(Path(options["remote_workdir"]).iterdir()) == []


def test_what_slurm_says_of_an_element_whose_script_has_not_begun(tmp_path) -> None:
    """A prolog has failed, for example: nobody has moved the file that Slurm has opened into the folder of the job."""
    folder, said = tmp_path / "a b" / "ct-a-2-0", tmp_path / "a b" / "ct-a-1-0-array" / "3.out"
    folder.mkdir(parents=True)
    said.parent.mkdir()
    (folder / "submitted.0").write_text("void\n")
    (folder / "submitted.1").write_text("ct-a-1-0-array 3\n")
    said.write_text("slurmstepd: error: no\n")
    folders = Folders(LoginNode())

    assert asyncio.run(folders.log(str(folder))) == "slurmstepd: error: no"
    asyncio.run(folders.release(str(folder)))
    assert list((tmp_path / "a b").iterdir()) == []


def test_an_element_whose_folder_is_gone_leaves_nothing(cluster, tmp_path) -> None:
    folder = tmp_path / "a b"
    (folder / "ct-a-1-0-array").mkdir(parents=True)
    script = SlurmExecutor(options={"begin": "now"})._script.write_array(
        "ct-a-1-0-array", str(folder), [("ct-a-1-0", "..")]
    )
    output = f"--output={folder}/ct-a-1-0-array/%a.out"
    job_id = cluster.run("sbatch", "--parsable", "--array=0", f"--chdir={tmp_path}", output, input=script).strip()
    wait_until(lambda: cluster.jobs(tmp_path)[f"{job_id}_0"][1] == "COMPLETED")

    assert list(folder.iterdir()) == []


def test_srun_starts_the_task_as_a_step(options) -> None:
    executor = SlurmExecutor(**options, use_srun=True, srun_append="env BY=append")
    assert end(dispatch(TASKS.environment, "SLURM_STEP_ID", "BY", executor=executor)).result == ["0", "append"]


@pytest.mark.parametrize(
    "more", [{}, {"postrun_commands": ["true"]}, {"use_srun": True}], ids=["exec", "postrun", "srun"]
)
def test_a_cancelled_task_has_its_grace_period(options, tmp_path, more) -> None:
    dispatch_id = dispatch(TASKS.clean_up, str(tmp_path), 1.0, executor=SlurmExecutor(**options, **more, grace=4))
    wait_until(lambda: begun(tmp_path))
    assert ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert (tmp_path / "cleaned").exists()
    assert not alive(begun(tmp_path)[0])


def test_a_grace_period_that_is_longer_than_that_of_slurm(options, tmp_path) -> None:
    # KillWait of the cluster is 5 s.
    dispatch_id = dispatch(TASKS.clean_up, str(tmp_path), 8.0, executor=SlurmExecutor(**options, grace=15))
    wait_until(lambda: begun(tmp_path))
    assert ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert (tmp_path / "cleaned").exists()
