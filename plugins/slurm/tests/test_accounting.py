"""The controller has forgotten jobs, as it does after a while: what has become of them is known from the accounting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from probes import kill_dispatcher, wait_until
from tasks import tasks
from test_ends import end, node_of, rows

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor

TASKS = tasks()

# In a row with those who stop the controller: they have a cluster for themselves.
pytestmark = pytest.mark.long("waits until the controller forgets jobs")

#: What becomes of the elements of an array that runs, and of one that waits.
ENDS = [
    "its script came to its end, and nothing is there of its task (COMPLETED)",
    "its script ended with an error (FAILED, exit code 3)",
    "it was cancelled from outside, with scancel or by an administrator (CANCELLED)",
    "it was cancelled from outside, with scancel or by an administrator (CANCELLED)",
    "it was cancelled from outside, with scancel or by an administrator (CANCELLED)",
]


def test_what_is_known_of_jobs_that_the_controller_has_forgotten(own_cluster: Cluster, home, tmp_path: Path) -> None:
    cluster, place = own_cluster, f"{tmp_path}/end-$SLURM_ARRAY_TASK_ID"
    # Each element ends with the number that it finds.
    wait = f"while [ ! -e {place} ]; do sleep 0.05; done; exit $(cat {place})"
    runs = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, prerun_commands=[wait])
    waits = SlurmExecutor(remote_workdir=str(tmp_path / "far"), settle_seconds=1, options={"begin": "now+1hour"})

    @ct.lattice
    def workflow() -> Any:
        executors = [runs, runs, runs, waits, waits]
        return [ct.electron(TASKS.work, executor=executor)(str(tmp_path)) for executor in executors]

    def states() -> list[str]:
        return sorted(state for _, state in cluster.jobs(tmp_path).values())

    def accounted() -> list[str]:
        return cluster.run("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", f"{running},{waiting}").split("\n")

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: states() == [*["PENDING"] * 2, *["RUNNING"] * 3])
    wait_until(lambda: len([row for row in rows(dispatch_id) if row.handle]) == 5)
    ids = [str(row.handle) for row in rows(dispatch_id)]
    running = next(job_id[:-2] for job_id in ids if job_id.endswith("_2"))
    waiting = next(job_id[:-2] for job_id in ids if job_id[:-2] != running)
    kill_dispatcher(home)
    cluster.run("scancel", f"{running}_2", waiting)

    for number, status in enumerate([0, 3]):
        (tmp_path / "part").write_text(str(status))
        (tmp_path / "part").rename(tmp_path / f"end-{number}")

    said = {f"{running}_0|COMPLETED", f"{running}_1|FAILED", f"{running}_2|CANCELLED by {os.getuid()}"}
    wait_until(lambda: {*accounted()} >= {*said, f"{waiting}_[0-1]|CANCELLED by {os.getuid()}"})
    cluster.forget_all_jobs()
    assert cluster.jobs() == {}
    end(dispatch_id)

    for place, words in enumerate(ENDS):
        job_id = f"{running}_{place}" if place < 3 else f"{waiting}_{place - 3}"
        node = node_of(dispatch_id, job_id)
        assert node["status"] == Status.FAILED
        assert f"Slurm job {job_id} did not end by itself: {words}" in str(node["error"])
