"""Executors written by hand, with nothing of `covalent_core.backend`: what the misbehaving ones begin with.

The hooks need none of it, and a fault in it would be one of all executors here.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import sleep

from covalent_core import Job, hookimpl


@dataclass
class HandmadeExecutor:
    """Give each job a process of its own.

    Attributes:
        folder: Where the files of the jobs are.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
    """

    folder: str = "~/.cache/handmade-executor"
    grace: float = 5.0

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        folder = self._folder(job)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "bundle.pyz").write_bytes(payload)
        return str(folder)

    @hookimpl
    def provision(self, location: str) -> str:
        command = [sys.executable, "bundle.pyz"]
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

        if job.barred:
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


class HandmadeTellingExecutor(HandmadeExecutor):
    """A job is told why it is ended, and how much time it has."""

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> None:
        if is_alive(job_handle):
            self.tell(job, location)

        await super().cancel(job_handle)

    def tell(self, job: Job, location: str) -> None:
        part = Path(location, "results", f"{job.ticket}.order.part")
        part.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps({"reason": job.cancel_reason, "grace": job.cancel_grace}))
        part.rename(part.with_suffix(""))


class HandmadePacksExecutor(HandmadeExecutor):
    """A pack tells of its members, and they can be cancelled while the others go on."""

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        reported: set[int] = set()

        while is_alive(job_handle):
            for node_id in set(over(job, location, job.node_ids)) - reported:
                job.report_results({file.name: file for file in results_of(job, location, node_id)})
                reported.add(node_id)

            await sleep(0.05)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Path:
        part = Path(location, "results", f"{job.ticket}.cancel.part")
        part.write_text(json.dumps(node_ids))
        part.rename(part.with_suffix(""))

        while is_alive(job_handle) and len(over(job, location, node_ids)) < len(node_ids):
            await sleep(0.01)

        return part.parent


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


def over(job: Job, location: str, node_ids: Iterable[int]) -> list[int]:
    """Return the nodes of a job that have ended."""
    return [node_id for node_id in node_ids if Path(location, "results", f"{job.ticket}.{node_id}.outcome").exists()]


def results_of(job: Job, location: str, node_id: int) -> list[Path]:
    """Return the result files of a node that has ended."""
    return sorted(Path(location, "results").glob(f"{job.ticket}.{node_id}.*"))
