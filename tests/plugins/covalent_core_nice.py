"""Run electrons on this machine with low priority."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import sleep

from covalent_core import Job, hookimpl


@dataclass
class NiceExecutor:
    """Give each job a process of its own, with low priority.

    Attributes:
        niceness: What is added to the priority number of the process; 19 is the lowest priority.
        folder: Where the files of the jobs are.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
    """

    niceness: int = 10
    folder: str = "~/.cache/nice-executor"
    grace: float = 5.0

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        folder = self._folder(job)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "bundle.pyz").write_bytes(payload)
        return str(folder)

    @hookimpl
    def provision(self, location: str) -> str:
        command = ["nice", "-n", str(self.niceness), sys.executable, "bundle.pyz"]
        process = subprocess.Popen(command, cwd=location, stdin=subprocess.DEVNULL, start_new_session=True)
        return handle_of(process.pid)

    @hookimpl
    async def run(self, job_handle: str) -> None:
        while is_alive(job_handle):
            await sleep(0.05)

    @hookimpl
    def fetch(self, location: str) -> Path:
        return Path(location, "results")

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        if is_alive(job_handle):
            with suppress(ProcessLookupError):
                os.kill(process_id(job_handle), signal.SIGTERM)

        while is_alive(job_handle):
            await sleep(0.01)

    @hookimpl
    def find(self, job: Job, location: str) -> str | None:
        link = Path(location, "results", f"{job.ticket}.process")

        if job.cancel_requested:
            # A runner that is still to come finds its name taken, and ends.
            link.parent.mkdir(exist_ok=True)

            with suppress(FileExistsError):
                link.symlink_to("nobody")

        if link.is_symlink() and (owner := os.readlink(link)) != "nobody":
            # What follows says where the process runs, which here is always this machine.
            return ".".join(owner.split(".")[:2])

        # A runner that was started a moment ago has not made its link yet.
        return next(runners_in(location), None)

    @hookimpl
    def release(self, job: Job) -> None:
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def _folder(self, job: Job) -> Path:
        return Path(self.folder).expanduser() / job.ticket


def handle_of(process_id: int) -> str:
    """Return a process id with a start time, which tells it from another process that gets its number later."""
    return f"{process_id}.{stat_of(process_id)[19]}"


def process_id(job_handle: str) -> int:
    return int(job_handle.split(".")[0])


def is_alive(job_handle: str) -> bool:
    try:
        stat = stat_of(process_id(job_handle))
    except OSError:
        return False

    return stat[19] == job_handle.split(".")[1] and stat[0] != "Z"


def stat_of(process_id: int) -> list[str]:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()


def runners_in(location: str) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.path.samefile(process / "cwd", location):
                yield handle_of(int(process.name))
