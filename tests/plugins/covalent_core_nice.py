"""Run electrons on this machine with low priority."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from covalent_core import Job, hookimpl
from covalent_core.backend import TAG, ProcessHandle, SharedFolder, end_gracefully


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

    def __post_init__(self) -> None:
        self._files = SharedFolder(self.folder)

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        return self._files.upload(job, payload)

    @hookimpl
    def provision(self, job: Job, location: str) -> str:
        command = ["nice", "-n", str(self.niceness), sys.executable, "bundle.pyz"]
        environment = {**os.environ, TAG: job.ticket}
        process = subprocess.Popen(command, cwd=location, env=environment, start_new_session=True)
        return str(ProcessHandle.of(process.pid, job.ticket))

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        async with self._files.following(job, location):
            await ProcessHandle.parse(job_handle).wait()

    @hookimpl
    def fetch(self, location: str) -> Path:
        return self._files.fetch(location)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Path:
        process = ProcessHandle.parse(job_handle)
        self._files.say_how_to_end(job, location)
        gently, firmly = (partial(process.signal, signum) for signum in (signal.SIGTERM, signal.SIGKILL))
        await end_gracefully(gently, firmly, process.is_over_within, grace=job.cancel_grace + 1)

        if not self._files.has_ended(job, location):
            await process.sweep()

        return self._files.fetch(location)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Path:
        over = ProcessHandle.parse(job_handle).wait()
        return await self._files.cancel_members(job, location, node_ids, over)

    @hookimpl
    def find(self, job: Job, location: str) -> str | None:
        owner = self._files.bar(job, location) if job.barred else self._files.find_claim(job, location)
        # A runner that was started a moment ago has not made its claim yet.
        found = [ProcessHandle.parse(owner)] if owner else ProcessHandle.tagged(job.ticket)
        return next(map(str, found), None)

    @hookimpl
    def release(self, job: Job, location: str | None) -> None:
        self._files.release(job, location)
