"""The functions of electrons in processes of this machine, where they can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

from anyio import to_thread

from covalent_core import Job
from covalent_core.backend import TAG, ProcessHandle, SharedFolder, end_gracefully


class Processes:
    """Bundles that run here, each in a folder of its own.

    Args:
        folder: Where these folders are.
    """

    def __init__(self, folder: str) -> None:
        self.files = SharedFolder(folder)

    async def start(self, job: Job, location: str, *options: str) -> ProcessHandle:
        """Start the bundle of a job."""
        return await to_thread.run_sync(self._start, job, location, *options)

    def _start(self, job: Job, location: str, *options: str) -> ProcessHandle:
        environment = {**os.environ, TAG: job.ticket}
        command = [sys.executable, "bundle.pyz", *options]

        with open(os.path.join(location, "log"), "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=location,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        return ProcessHandle.of(process.pid, job.ticket)

    async def find(self, job: Job, location: str, *, bar: bool) -> ProcessHandle | None:
        """Return the process that runs a job, if there is one.

        Args:
            bar: Let none begin from here on.
        """
        look = self.files.bar if bar else self.files.find_claim
        owner = await to_thread.run_sync(look, job, location)

        if owner:
            return ProcessHandle.parse(owner)

        # One that was started a moment ago has not made its claim yet.
        return next(iter(await to_thread.run_sync(ProcessHandle.tagged, job.ticket)), None)

    async def end(self, job: Job, location: str, process: ProcessHandle) -> None:
        """End a process and all that it has started. When this returns, nothing of it is alive."""
        gently, firmly = partial(process.signal, signal.SIGTERM), partial(process.signal, signal.SIGKILL)
        grace, what = job.grace + 1, f"process {process.pid}"
        await end_gracefully(gently, firmly, process.is_over_within, grace=grace, what=what)

        if not await to_thread.run_sync(self.files.has_ended, job, location):
            await process.sweep()
