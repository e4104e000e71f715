"""The stay of one job at the cluster: how far it is, and what has become of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from covalent_core_slurm._answers import JobRecord, belongs
from covalent_core_slurm._cluster import Cluster
from covalent_core_slurm._states import HOPELESS, explain, is_requeued, meaning
from covalent_core_slurm._watch import Sight, Waiter
from covalent_core_slurm.errors import SlurmJobError

log = logging.getLogger(__name__)

#: Seconds that a shared file system may take to show what a job which is over has written; longer if it has come to
#: its end, because then it has written something.
SETTLE_SECONDS, COMPLETED_SETTLE_SECONDS = 3.0, 60.0


class Stay:
    """The stay of one job at the cluster.

    Args:
        folder: Where the files of the job are.
        longest_pause: The longest time, in seconds, between two looks at the controller.
    """

    def __init__(self, cluster: Cluster, ticket: str, folder: str, job_id: str, longest_pause: float) -> None:
        prefix = f"{folder}/results/{ticket}"
        self._cluster = cluster
        self._folder = folder
        self._job_id = job_id
        self._waiter = Waiter(ticket, prefix, job_id=job_id, longest_pause=longest_pause)
        self._noted = ""

    async def until_ended(self, see: Callable[[Sight], Awaitable[None]]) -> Sight:
        """Wait until the runner says that it has ended, or the controller that there will be nothing more to wait for.

        A controller or a login node that gives no answer ends nothing: the job goes on without them.

        Args:
            see: Is given what each look shows.
        """
        seen_over, last = float("inf"), None

        while True:
            sight = await self._cluster.patiently(self.look)
            await self._cluster.patiently(partial(see, sight))

            if sight.ended:
                return sight

            if sight.asked and is_over(sight.record):
                seen_over, last = min(seen_over, time.monotonic()), sight.record
            elif sight.record is not None:
                seen_over = float("inf")
                self._note(sight.record)

            if time.monotonic() > seen_over + _settle_seconds(last):
                known = await self._recall(last)

                if is_over(known):
                    return sight._replace(record=known)

                seen_over = float("inf")

    async def until_over(self) -> None:
        """Wait until the controller says that the job is over."""
        await self._until(is_over)

    async def look(self, *, now: bool = False) -> Sight:
        """Return what the next look shows.

        Raises:
            ExecutorError: The login node or the controller could not be asked.
        """
        return await self._cluster.watch.look(self._waiter, now=now)

    async def is_over_within(self, seconds: float) -> bool:
        """Return True when the controller says that the job is over, False if it does not in time.

        Raises:
            ExecutorError: The login node or the controller could not be asked.
        """
        deadline = time.monotonic() + seconds
        # What was rarely looked at because it was old is looked at often again.
        self._waiter.since = time.monotonic()
        sight = await self.look(now=True)

        while not (sight.asked and is_over(sight.record)):
            if time.monotonic() > deadline:
                return False

            sight = await self.look(now=time.monotonic() < self._waiter.since + 2)

        return True

    async def check_end(self, sight: Sight) -> None:
        """Return if the task has ended by itself.

        Raises:
            SlurmJobError: It has not; the message says why.
        """
        if sight.ended and not sight.terminated:
            return

        record = await self._recall(await self._until(is_settled)) if sight.terminated else sight.record

        if sight.terminated and (record is None or is_own_end(record)):
            # Somebody has ended the task and not its job: what the runner says of that is all there is to say.
            return

        said = await self._cluster.patiently(lambda: self._cluster.folders.log(self._folder))
        words = f"; its script said: {said}" if said else ""

        if record is None:
            message = f"Slurm no longer knows job {self._job_id}, and its runner left no end in {self._folder}"
            raise SlurmJobError(message + words, state="", retry=True)

        message, retry = explain(self._job_id, record.state, record.reason, record.exit_code)
        raise SlurmJobError(message + words, state=record.state, retry=retry)

    async def _until(self, condition: Callable[[JobRecord | None], bool]) -> JobRecord | None:
        """Return what the controller says of the job when a condition holds for that.

        Only the first look is in a hurry: what comes after the end of a task may take hours, and many jobs be in it.
        """
        self._waiter.since = time.monotonic()
        sight = await self._cluster.patiently(lambda: self.look(now=True))

        while not (sight.asked and condition(sight.record)):
            sight = await self._cluster.patiently(self.look)

        return sight.record

    async def _recall(self, record: JobRecord | None) -> JobRecord | None:
        """Return what is known of the job besides what squeue says, its exit code for example; or else just that."""
        known = await self._cluster.patiently(lambda: self._cluster.recalls.ask(self._job_id))
        return known if known is not None and belongs(known.name, self._waiter.ticket) else record

    def _note(self, record: JobRecord) -> None:
        if record.reason != self._noted and record.reason in HOPELESS and record.state == "PENDING":
            log.warning("Slurm job %s waits and may wait for ever: %s", record.job_id, HOPELESS[record.reason])

        self._noted = record.reason


def is_over(record: JobRecord | None) -> bool:
    """Return whether nothing of a job runs any more, or will, in what the controller says of it."""
    return record is None or meaning(record.state).over


def is_settled(record: JobRecord | None) -> bool:
    """Return whether nothing of a job runs, though it may be in the queue again."""
    return record is None or is_over(record) or meaning(record.state).waits


def is_own_end(record: JobRecord) -> bool:
    """Return whether the script of a job has come to its end by itself, the first time that it ran."""
    return record.state in ("COMPLETED", "FAILED") and not is_requeued(record.state, record.exit_code)


def _settle_seconds(record: JobRecord | None) -> float:
    completed = record is not None and record.state == "COMPLETED"
    return COMPLETED_SETTLE_SECONDS if completed else SETTLE_SECONDS
