"""The stay of one job at the cluster: how it ends, and what has become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from covalent_core.backend import ENDED, OUTCOME, Alive, Over, end_gracefully, read_outcome
from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._cancels import Order
from covalent_core_slurm._cluster import Cluster
from covalent_core_slurm._job_files import JobFiles
from covalent_core_slurm._looks import Watched
from covalent_core_slurm._states import explain, is_over, is_own_end, waits
from covalent_core_slurm.errors import SlurmJobError

#: Seconds after which a user reads that a job which was to end is not known to be over; the order is given again then.
PROOF_SECONDS = 10.0

#: Grace periods up to this are kept by Slurm itself, whatever its KillWait is.
KILL_WAIT = 5.0


class Stay:
    """The stay of one job at the cluster.

    Args:
        settle: Seconds that the files of a job which is over may take to be seen.
    """

    def __init__(self, cluster: Cluster, files: JobFiles, job_id: str, settle: float) -> None:
        self._cluster = cluster
        self._files = files
        self._settle = settle
        self._watched = Watched(job_id, files.job.ticket, files.prefix)
        self._tell = partial(files.tell, "queue")

    async def until_ended(self) -> None:
        """Return when the task has ended by itself.

        Raises:
            SlurmJobError: Slurm has ended it, or lost it; the message says why.
            SlurmUnreachableError: What has become of it could not be asked.
        """
        queue, files = self._cluster.queue, self._cluster.files

        while True:
            over = await queue.until_over(self._watched, sign=files, tell=self._tell)

            if over.state == ENDED:
                return await self._check_end()

            known = await self._recall()

            if known is None or not is_over(known.state):
                known = JobRecord(self._watched.job_id, over.state, "", over.reason)

            if await files.is_over_within(self._watched, self._settle if may_have_begun(known) else 0.0):
                return await self._check_end()

            # What Slurm knows may be in the queue again.
            if not known.state or isinstance(await queue.look(self._watched), Over):
                raise await self._error(known)

    async def until_over(self) -> None:
        """Return when the controller says that the job is over."""
        await self._cluster.queue.until_over(self._watched, tell=self._tell)

    async def end(self, *, gently: bool, grace: float) -> None:
        """End the job. When this returns, the controller has said that it is over.

        Args:
            gently: Let its runner see to the grace period.

        Raises:
            ExecutorError: That could not be ordered, or has not been seen.
        """
        order = partial(Order, self._watched)
        give = self._cluster.cancels.give
        await end_gracefully(
            partial(give, order(gently=True)) if gently else None,
            partial(give, order(gently=False)),
            partial(self._cluster.queue.is_over_within, self._watched),
            grace=grace + KILL_WAIT,
            proof=PROOF_SECONDS,
            what=f"Slurm job {self._watched.job_id} (see: scontrol show job {self._watched.job_id})",
        )

    async def end_members(self, node_ids: list[int]) -> None:
        """End some nodes of a pack; when this returns, its runner or the controller has said that they are over."""
        await self._cluster.folders.end_members(self._files.prefix, node_ids)
        members = self._watched._replace(node_ids=tuple(node_ids))
        await self._cluster.queue.until_over(members, sign=self._cluster.files)

    async def _check_end(self) -> None:
        """Return if the task has ended by itself, or if its runner alone can say how."""
        results = await self._files.results(self._files.job.node_ids)

        if not await asyncio.to_thread(_was_ended, results):
            return

        # Somebody may have ended the task and not its job: what the runner says of that is all there is to say.
        await self._until_settled()

        if (record := await self._recall()) is not None and not is_own_end(record):
            raise await self._error(record)

    async def _until_settled(self) -> None:
        """Return when nothing of the job runs, though it may be in the queue again."""
        self._cluster.queue.hurry(self._watched)

        while True:
            look = await self._cluster.queue.look(self._watched)

            if isinstance(look, Over) or (isinstance(look, Alive) and waits(look.state)):
                return

    async def _recall(self) -> JobRecord | None:
        """Return what is known of the job besides what squeue says, its exit code for example."""
        return await self._cluster.recalls.ask((self._watched.job_id, self._watched.ticket))

    async def _error(self, record: JobRecord) -> SlurmJobError:
        said = await self._cluster.folders.log(self._files.folder)
        words = f"; its script said: {said}" if said else ""

        if not record.state:
            message = f"Slurm no longer knows job {record.job_id}, and its runner left no end in {self._files.folder}"
            return SlurmJobError(message + words, state="", retry=True)

        message, retry = explain(record)
        return SlurmJobError(message + words, state=record.state, retry=retry)


def may_have_begun(record: JobRecord) -> bool:
    """Return whether a job has been given nodes, or may have been."""
    return record.nodes != ""


def _was_ended(results: Mapping[str, bytes | Path]) -> bool:
    """Return whether a task was ended, or may have been: with `ct.checkpoint()` it ends itself when it is told to."""
    outcomes = [read_outcome(file) for name, file in results.items() if name.endswith(OUTCOME)]
    return any(
        outcome.status in ("TERMINATED", "CANCELLED") or outcome.ended_by in ("told", "signal 9")
        for outcome in outcomes
    )
