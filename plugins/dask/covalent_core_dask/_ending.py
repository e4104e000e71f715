"""The end of jobs that have begun: by whoever reaches their processes, proven by who would know."""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGKILL, SIGTERM

from anyio import move_on_after, sleep

from covalent_core import Job
from covalent_core.backend import ENDED, ProcessHandle, SharedFolder, said_after
from covalent_core.errors import BackendUnreachableError
from covalent_core_dask._cluster import Cluster
from covalent_core_dask._looks import Watched

#: Seconds after the grace period in which the processes of a task must have gone.
KILL_SECONDS = 10.0

#: Seconds between looks at whether a runner has followed an order that is in a file, and how long it may take.
ORDER_LOOK, ORDER_SECONDS = 0.05, 5.0


class Ending:
    """End jobs without the scheduler."""

    def __init__(self, cluster: Cluster, files: SharedFolder) -> None:
        self._cluster = cluster
        self._files = files

    async def end(self, job: Job, watched: Watched, owner: str) -> None:
        """End a job. When this returns, nothing of it is alive.

        Raises:
            BackendUnreachableError: That is not known.
        """
        process = ProcessHandle.parse(owner)

        if _has_ended(watched):
            return

        if process.place.is_here() is not None:
            process.signal(SIGTERM)

            if not await process.is_over_within(job.grace + KILL_SECONDS):
                # Its supervisor sees that, and ends the task without it.
                process.signal(SIGKILL)

            await self._until_said(process, watched)
        elif not await self._end_there(process, watched, job.grace):
            await self._end_by_order(job, process, watched)

    async def bury(self, watched: Watched, owner: str) -> str:
        """Return words about the end of a job whose runner was killed, none if it has ended its job all the same.

        Raises:
            BackendUnreachableError: Whether there is anything left is not known.
        """
        process = ProcessHandle.parse(owner)

        if process.place.is_here() is not None:
            await self._until_said(process, watched)
        elif not await self._end_there(process, watched, 0.0):
            raise BackendUnreachableError(f"what it has left on {process.place.host} is not known")

        return "" if _has_ended(watched) else f"{process.place.host}, where the task ran, was booted since"

    async def _until_said(self, process: ProcessHandle, watched: Watched) -> None:
        """Return when the runner of a job that can be seen from here has said its end, or was ended by a boot."""
        await process.wait()

        if process.place.is_here():
            await said_after(process, lambda: _has_ended(watched) or None, KILL_SECONDS)

    async def _end_there(self, process: ProcessHandle, watched: Watched, grace: float) -> bool:
        """Let a worker of its host end a job; return whether one has answered that it is over."""
        order = {"ticket": watched.ticket, "folder": watched.folder, "handle": str(process), "grace": grace}

        # Who does not answer may have done it all the same; the order can also be left in a file.
        with suppress(BackendUnreachableError):
            for worker in await self._cluster.workers_at(str(process.place)):
                answer = await self._cluster.ask_beside(worker, "end", seconds=grace + 2 * KILL_SECONDS, **order)

                if "complete" in answer:
                    return True

        return False

    async def _end_by_order(self, job: Job, process: ProcessHandle, watched: Watched) -> None:
        """Leave an order where the runner of a job looks for one, and wait for its word."""
        await self._files.cancel_members(job, watched.folder, job.node_ids, sleep(job.grace + ORDER_SECONDS))

        with move_on_after(ORDER_SECONDS):
            while not _has_ended(watched):
                await sleep(ORDER_LOOK)

            return

        raise BackendUnreachableError(
            f"the task runs on {process.place.host}, where no Dask worker answers, and does not follow the order to "
            f"end that was left in {watched.folder}"
        )


def _has_ended(watched: Watched) -> bool:
    return os.path.lexists(watched.prefix + ENDED)
