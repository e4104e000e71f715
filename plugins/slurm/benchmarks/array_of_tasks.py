"""What a task costs on Slurm: 1,000 no-op electrons, beside a bare ``sbatch --array`` that runs ``python3 -c pass``.

Needs a real Slurm on this machine; a cluster of its own is started and stopped at the end. The jobs of both ask for the
same, and both are over when the controller says so of all of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "tests"), str(HERE.parents[3] / "tests")]

from cluster import Cluster, shared_cluster  # noqa: E402
from commands import SlurmCommands  # noqa: E402
from probes import wait_until  # noqa: E402

import covalent_core as ct  # noqa: E402
from covalent_core_slurm import SlurmExecutor  # noqa: E402

TASKS = int(os.environ.get("COVALENT_CORE_BENCHMARK_TASKS", "1000"))
#: So that 96 run at once: of hundreds that it launches on two processors in one second Slurm itself gives some up.
MEM = "2000M"
PATIENCE = 1800.0


def nothing(x: int) -> int:
    return x


def measure_tasks(cluster: Cluster, folder: Path) -> tuple[float, Counter[str]]:
    """Return how long all tasks took together, and which commands of Slurm were called how often."""
    commands = SlurmCommands(folder / "bin")
    executor = SlurmExecutor(remote_workdir=str(folder / "tasks"), slurm_path=str(commands.folder), mem=MEM)
    electron = ct.electron(nothing, executor=executor)

    @ct.lattice
    def fan_out(count: int) -> list[int]:
        return [electron(place) for place in range(count)]

    start = time.perf_counter()
    result = ct.dispatch_sync(fan_out)(TASKS)
    wait_until(lambda: not cluster.living(folder / "tasks"), PATIENCE)
    seconds = time.perf_counter() - start
    assert result.result == list(range(TASKS)), result.error
    check(cluster, folder / "tasks")
    return seconds, commands.counts()


def measure_array(cluster: Cluster, folder: Path) -> float:
    """Return how long the elements of an array took together that do nothing either."""
    (folder / "bare").mkdir()
    options = [f"--array=0-{TASKS - 1}", f"--mem={MEM}", "--output=/dev/null", f"--chdir={folder}/bare"]
    start = time.perf_counter()
    cluster.run("sbatch", *options, input="#!/bin/bash\nexec python3 -c pass\n")
    wait_until(lambda: not cluster.living(folder / "bare"), PATIENCE)
    seconds = time.perf_counter() - start
    check(cluster, folder / "bare")
    return seconds


def check(cluster: Cluster, folder: Path) -> None:
    states = Counter(state for _, state in cluster.jobs(folder).values())
    assert states == {"COMPLETED": TASKS}, f"{states}, expected {TASKS} that are COMPLETED"


def measure(cluster: Cluster, folder: Path) -> None:
    os.environ |= {"SLURM_CONF": str(cluster.config), "COVALENT_CORE_HOME": f"{folder}/store"}
    os.environ["COVALENT_CORE_IDLE_SECONDS"] = "1"
    bare = measure_array(cluster, folder)
    tasks, counts = measure_tasks(cluster, folder)

    print(f"{TASKS} jobs, on {len(os.sched_getaffinity(0))} processors")
    print(f"a task                          {1000 * tasks / TASKS:7.1f} ms   ({tasks:.1f} s together)")
    print(f"bare array: python3 -c pass     {1000 * bare / TASKS:7.1f} ms   ({bare:.1f} s together)")
    print(f"a task takes {tasks / bare:.1f} times as long")
    print(
        "calls: ", ", ".join(f"{name} {counts[name]}" for name in ("sbatch", "squeue", "scontrol", "sacct", "scancel"))
    )


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        shared_cluster(Path(name, "slurm")) as cluster,
    ):
        measure(cluster, Path(name))
