"""A real Slurm as the tests see it, shared by all who test at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import daemons
from daemons import PROGRAMS, PROJECT, is_used, starting
from probes import alive, wait_until
from programs import need

#: The states of a job of which nothing runs any more, or will.
OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "DEADLINE")


class Cluster:
    """The cluster as a test sees it.

    Attributes:
        folder: Where it keeps all its files.
        config: What ``SLURM_CONF`` must be for its commands.
        keeper: The process that keeps it.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self.keeper = int((folder / "keeper").read_text())
        self._log = log
        self.config = folder / "slurm.conf"
        self._environment = {**os.environ, "SLURM_CONF": str(self.config)}

    def run(self, *command: str, input: str = "", check: bool = True) -> str:
        finished = subprocess.run(command, input=input, capture_output=True, text=True, env=self._environment)
        assert not check or finished.returncode == 0, finished.stderr
        return finished.stdout

    def answers(self) -> bool:
        """Return whether the controller lives and can be asked."""
        return self.run("scontrol", "ping", check=False).strip().endswith("is UP")

    def stop_controller(self) -> None:
        """Let it save its state and end; only for a test that is alone."""
        self._order("stop")

    def start_controller(self) -> None:
        self._order("start")

    def forget_all_jobs(self) -> None:
        """Let the controller start without what it knew; only for a test that is alone, and when all jobs are over."""
        self._order("stop")
        self._order("start afresh")

    def _order(self, word: str) -> None:
        order = self.folder / "order"
        order.with_suffix(".part").write_text(word)
        order.with_suffix(".part").rename(order)
        wait_until(lambda: not order.exists())
        assert alive(self.keeper), f"the cluster has ended: {self._log.read_text()}"

    def jobs(self, folder: Path | None = None) -> dict[str, tuple[str, str]]:
        """Return by their ids the names and states of all jobs that the controller knows, or of those with files here.

        Args:
            folder: Where they have been submitted from, or anything above that.
        """
        # Who waits for something asks again and again.
        time.sleep(0.05)
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i %T %j %Z").splitlines()
        parts = [line.split(maxsplit=3) for line in lines]
        return {
            job_id: (name, state)
            for job_id, state, name, place in parts
            if folder is None or Path(place).is_relative_to(folder)
        }

    def living(self, folder: Path | None = None) -> dict[str, str]:
        """Return by their ids the names of the jobs that are not over, as `jobs`."""
        return {job_id: name for job_id, (name, state) in self.jobs(folder).items() if state not in OVER}


def need_programs() -> None:
    """Leave out the test that asks where there is no Slurm."""
    need(PROJECT, *PROGRAMS)


@contextmanager
def shared_cluster(folder: Path, *, hurried: bool = False) -> Iterator[Cluster]:
    """Give the cluster of all who name the same folder; the first starts it, and it ends after the last.

    Args:
        hurried: Whether its controller hurries, see `hurry`.

    Raises:
        AssertionError: It has not started.
    """
    need_programs()
    folder.mkdir(exist_ok=True)

    with open(folder / "users", "ab+") as users:
        with starting(folder):
            place = folder / "place"
            fcntl.lockf(users, fcntl.LOCK_SH)

            if not place.exists():
                keep(folder, ["hurried"] if hurried else [])

            cluster = Cluster(Path(place.read_text()), folder / "keeper.log")

        try:
            yield cluster
        finally:
            fcntl.lockf(users, fcntl.LOCK_UN)
            wait_until(lambda: not alive(cluster.keeper) or is_used(folder))


def keep(folder: Path, options: list[str]) -> None:
    """Start the process that keeps the cluster; return when that is ready."""
    (folder / "failed").unlink(missing_ok=True)

    with open(folder / "keeper.log", "ab") as log:
        command = ["setsid", "--fork", sys.executable, str(daemons.__file__), str(folder), *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=True)

    with suppress(AssertionError):
        wait_until(lambda: (folder / "place").exists() or (folder / "failed").exists())

    assert (folder / "place").exists(), f"no cluster has started: {(folder / 'keeper.log').read_text()}"
