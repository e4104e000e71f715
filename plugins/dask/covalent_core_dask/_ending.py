"""The end of jobs that have begun: by whoever reaches their processes, proven by who would know."""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGTERM

from anyio import move_on_after, sleep

from covalent_core import Job
from covalent_core.backend import ENDED, ProcessHandle, SharedFolder
from covalent_core.errors import BackendUnreachableError, ExecutorError
from covalent_core_dask._cluster import Cluster
from covalent_core_dask._looks import Watched

#: Seconds after the grace period in which the processes of a task must have gone.
KILL_SECONDS = 10.0

#: Seconds between looks at whether a runner has followed an order that is in a file, and how long it may take.
ORDER_LOOK, ORDER_SECONDS = 0.05, 5.0


class Ending:
    """End jobs without the scheduler."""

    def __init__(self, cluster: Cluster, files: SharedFolder, program: str) -> None:
        self._cluster = cluster
        self._files = files
        self._program = program

    async def end(self, job: Job, watched: Watched, owner: str) -> None:
        """End a job. When this returns, nothing of it is alive.

        Raises:
            BackendUnreachableError: That is not known.
            ExecutorError: Something is alive all the same.
        """
        process = ProcessHandle.parse(owner)

        if os.path.lexists(watched.prefix + ENDED):
            return

        if process.place.is_here() is not None:
            await self._end_here(process, watched, job.grace)
        elif not await self._end_there(process, watched, job.grace):
            await self._end_by_order(job, process, watched)

    async def bury(self, watched: Watched, owner: str) -> str:
        """End what a runner has left that was itself killed; return words about it, none if it has ended its job.

        Raises:
            BackendUnreachableError: Whether there is anything left is not known.
        """
        process = ProcessHandle.parse(owner)

        if process.place.is_here() is not None:
            await process.sweep()
        elif not await self._end_there(process, watched, 0.0):
            raise BackendUnreachableError(f"what it has left on {process.place.host} is not known")

        if os.path.lexists(watched.prefix + ENDED):
            return ""

        return f"process {process.pid} on {process.place.host}, which supervised the task, was ended from outside"

    async def _end_here(self, process: ProcessHandle, watched: Watched, grace: float) -> None:
        process.signal(SIGTERM)

        if not (await process.is_over_within(grace + KILL_SECONDS) and os.path.lexists(watched.prefix + ENDED)):
            await process.sweep()

        if not await process.is_over_within(KILL_SECONDS):
            raise ExecutorError(f"process {process.pid} has left what does not end; see: ps --ppid {process.pid}")

    async def _end_there(self, process: ProcessHandle, watched: Watched, grace: float) -> bool:
        """Let a worker of its host end a job; return whether one has answered that it is over."""
        order = {"ticket": watched.ticket, "folder": watched.folder, "handle": str(process), "grace": grace}
        request = {"program": self._program, "request": {"do": "end", **order}}

        # Who does not answer may have done it all the same; the order can also be left in a file.
        with suppress(BackendUnreachableError):
            for worker in await self._cluster.workers_at(str(process.place)):
                answer = await self._cluster.call_beside(worker, "ask", seconds=grace + KILL_SECONDS, **request)

                if "error" in answer:
                    raise ExecutorError(f"{process.place.host} could not end the job: {answer['error']}")

                if "complete" in answer:
                    return True

        return False

    async def _end_by_order(self, job: Job, process: ProcessHandle, watched: Watched) -> None:
        """Leave an order where the runner of a job looks for one, and wait for its word."""
        await self._files.cancel_members(job, watched.folder, job.node_ids, sleep(job.grace + ORDER_SECONDS))

        with move_on_after(ORDER_SECONDS):
            while not os.path.lexists(watched.prefix + ENDED):
                await sleep(ORDER_LOOK)

            return

        raise BackendUnreachableError(
            f"the task runs on {process.place.host}, where no Dask worker answers, and does not follow the order to "
            f"end that was left in {watched.folder}"
        )
