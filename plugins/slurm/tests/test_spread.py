"""A pack whose members run side by side, over the tasks of one Slurm job, on several nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from probes import alive, processes_with, wait_until
from tasks import spread_tasks
from test_ends import end, handle, requeue

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor

TASKS = spread_tasks()


@pytest.fixture
def options(cluster: Cluster, home: Path, tmp_path: Path) -> dict[str, Any]:
    return {"remote_workdir": str(tmp_path / "far"), "spread": True, "ntasks": 4, "nodes": 2, "grace": 2}


def dispatch(folder: Path, names: Sequence[str], *, task: Any = TASKS.work, **options: Any) -> str:
    """Dispatch a pack of tasks that do not depend on each other, and of one that collects what they return."""

    @ct.lattice(executor=SlurmExecutor(**options), pack=len(names))
    def workflow(folder: str) -> Any:
        return [ct.electron(task)(folder, name) for name in names]

    return ct.dispatch(workflow)(str(folder))


def begun(folder: Path) -> dict[str, tuple[int, str]]:
    """Return by name of the members that have begun their process and the node of the cluster that it is on."""
    found = {}

    for file in folder.glob("begun-*"):
        if content := file.read_text().split():
            found[file.name.split("-")[1]] = (int(content[0]), content[1])

    return found


def runner_of(pid: int) -> int:
    """Return the parent of a worker."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ends(result: ct.Result) -> dict[str, Status]:
    """Return how the members have ended, by name."""
    nodes = [result.get_node_result(node_id) for name, node_id in result.nodes() if not name.startswith(":")]
    return {str(place): node["status"] for place, node in enumerate(nodes)}


def test_members_run_side_by_side_on_several_nodes(cluster, options, tmp_path) -> None:
    names = [str(number) for number in range(8)]
    dispatch_id = dispatch(tmp_path, names, **options)
    wait_until(lambda: len(begun(tmp_path)) == 4)
    first = begun(tmp_path)

    assert all(alive(pid) for pid, _ in first.values())
    assert len({pid for pid, _ in first.values()}) == 4
    assert len({node for _, node in first.values()}) == 2
    assert len(cluster.living(tmp_path)) == 1

    (tmp_path / "go").touch()
    result = end(dispatch_id)

    assert result.result == names
    assert sorted(begun(tmp_path)) == names
    assert list((tmp_path / "far").iterdir()) == []
