"""The stay of one job at AWS Batch: how it ends, and what has become of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from covalent_core.backend import ENDED, OUTCOME, Look, Over, Unknown, read_outcome
from covalent_core_awsbatch._account import Account
from covalent_core_awsbatch._cancels import Order, is_ours
from covalent_core_awsbatch._job_files import JobFiles
from covalent_core_awsbatch._logs import last_lines
from covalent_core_awsbatch._looks import Files, Watched
from covalent_core_awsbatch._states import Record, explain
from covalent_core_awsbatch.errors import BatchError, BatchJobError, BatchUnreachableError

#: Seconds besides grace and silence within which a cancel must be proven; then it is repeated.
PROOF_SECONDS = 60.0

#: Seconds for which a job waits in its queue before it is looked at what keeps it there.
LONG_WAIT = 120.0

#: The exit codes with which our own first process says that nothing of the job runs.
OWN_EXITS = (81, 82, 83, 84)


class Stay:
    """The stay of one job at AWS Batch.

    Args:
        job_id: Its id there, which is its handle.
        queue: The name of its queue.
        silence: How many seconds without a sign of life prove the end of a job that AWS says is over.
        longest_wait: For how many seconds it may be RUNNABLE.
    """

    def __init__(
        self,
        account: Account,
        files: JobFiles,
        job_id: str,
        *,
        queue: str,
        silence: float,
        longest_wait: float | None = None,
        log_group: str | None = None,
    ) -> None:
        self._account = account
        self._files = files
        self._job_id = job_id
        self._queue = queue
        self._silence = silence
        self._longest_wait = longest_wait
        self._log_group = log_group
        self._watched = Watched(job_id, str(files.folder))

    def _tell(self, text: str) -> None:
        # Of an array AWS is asked for one child alone, and another one may have begun.
        self._files.tell("queue", "" if self._files.begun else text)

    async def until_ended(self) -> None:
        """Return when the task has ended by itself.

        Raises:
            BatchJobError: AWS has ended it, or lost it; the message says why.
            BatchError: What has become of it could not be asked.
        """
        over = await self._until_over()

        if over.state == ENDED or await self._has_delivered():
            return await self._check_end()

        raise await self._error(await self._recall())

    async def _until_over(self) -> Over:
        """Return when the agent or AWS says that the job is over; raise if it waits in its queue for too long."""
        batch, files = self._account.batch, self._account.files
        over = asyncio.ensure_future(batch.until_over(self._watched, sign=files, tell=self._tell))
        waiting = asyncio.ensure_future(self._until_waited_too_long())

        try:
            await asyncio.wait([over, waiting], return_when=asyncio.FIRST_COMPLETED)

            if not over.done():
                raise waiting.result()

            return over.result()
        finally:
            # Also where the core interrupts this: nobody looks at a job any more that nobody waits for.
            for task in (over, waiting):
                task.cancel()

            await asyncio.wait([over, waiting])

    async def end(self, reason: str) -> bool:
        """End the job. When this returns, nothing of it is alive, nor will be. Return whether it had begun.

        Raises:
            BatchError: That could not be ordered, or has not been seen.
        """
        with self._account.cancels.coming():
            look = await self._account.files.look(self._watched, now=True)

            if isinstance(look, Unknown):
                raise BatchUnreachableError(f"the files of job {self._job_id} cannot be seen: {look.why}")

            if isinstance(look, Over):
                return True

            assert isinstance(look, Files)
            owner = await self._bar(look) if look.there else None

            if owner is not None:
                await self._files.order({"cancel": True, "reason": reason, "grace": self._files.job.cancel_grace})

        # Of a job that cannot begin it may take AWS long to take it from its queue, which changes nothing.
        await asyncio.gather(*(self._order(job_id, reason) for job_id in {self._job_id, owner or self._job_id}))
        limit = self._files.job.grace + self._silence + PROOF_SECONDS

        if owner is not None and not await self._is_over_within(limit):
            raise BatchError(
                f"AWS Batch job {self._job_id} is not known to be over {limit:.0f} s after the order to end it: "
                f"its agent has not said so, nor has AWS been sure of it and no sign of life come"
            )

        return owner is not None

    async def end_members(self, node_ids: list[int]) -> None:
        """End some nodes of a pack; when this returns, its runner or AWS has said that they are over."""
        nodes = sorted({*node_ids, *await self._files.ordered_ends()})
        await self._files.order({"nodes": nodes})
        members = self._watched._replace(node_ids=tuple(node_ids))
        self._account.files.hurry(members)
        over = await self._account.batch.until_over(members, sign=self._account.files)

        if over.state != ENDED and not await self._is_over_within(self._silence + PROOF_SECONDS):
            raise BatchError(f"AWS Batch job {self._job_id} reads {over.state}, and still shows signs of life")

    async def _until_waited_too_long(self) -> BatchJobError:
        """Look now and then at what keeps the job in its queue; return the error if it is there for too long."""
        while True:
            await asyncio.sleep(self._pause())
            record = self._account.batch.record(self._job_id)

            if record is None or record.state != "RUNNABLE" or self._files.begun:
                self._files.tell("trouble", "")
                continue

            waited = time.time() - record.created

            if self._longest_wait is not None and waited > self._longest_wait and await self._is_barred():
                reason = f": {record.reason}" if record.reason else ""
                words = f"AWS Batch job {self._job_id} has waited for {waited:.0f} s, and longest_wait is "
                return BatchJobError(f"{words}{self._longest_wait:g}{reason}", state="RUNNABLE", retry=False)

            if waited > LONG_WAIT:
                await self._tell_trouble()

    def _pause(self) -> float:
        return min(LONG_WAIT / 4, max(1.0, (self._longest_wait or LONG_WAIT) / 10))

    async def _tell_trouble(self) -> None:
        try:
            self._files.tell("trouble", (await self._account.queues.look(self._queue)).trouble)
        except BatchError as error:
            self._files.tell("trouble", str(error))

    async def _is_barred(self) -> bool:
        """See to it that the job does not begin, and return whether that was in time."""
        look = await self._account.files.look(self._watched, now=True)
        return isinstance(look, Files) and await self._bar(look) is None

    async def _bar(self, look: Files) -> str | None:
        """See to it that no job of any order begins; return None if so, or the id of the one that has begun."""
        order = max(look.owners, default=0)

        while (owner := await self._account.objects.bar(self._files.folder, order)) is None:
            # One that was void before may have been followed by another one.
            if order not in look.owners:
                return None

            order += 1

        return owner

    async def _order(self, job_id: str, reason: str) -> None:
        await self._account.cancels.give(Order(job_id, self._files.job.ticket, reason))

    async def _has_delivered(self) -> bool:
        """Return whether the agent has said that all is over though AWS said so first; it is waited for it."""
        look = await self._account.files.look(self._watched, now=True)

        if isinstance(look, Over):
            return True

        if isinstance(look, Files):
            self._files.begun = await self._bar(look) is not None

            if not self._files.begun:
                return False

        record = await self._recall()

        if record.exit_code in OWN_EXITS:
            return isinstance(await self._account.files.look(self._watched, now=True), Over)

        return await self._is_over_within(float("inf")) and isinstance(
            await self._account.files.look(self._watched, now=True), Over
        )

    async def _is_over_within(self, seconds: float) -> bool:
        """Return True as soon as it is proven that nothing of a job is alive that has begun.

        Its agent says so, or AWS does and no sign of life has come for long enough.
        """
        batch, files = self._account.batch, self._account.files
        latest = time.monotonic() + seconds
        batch.hurry(self._watched)
        files.hurry(self._watched)

        while time.monotonic() < latest:
            seen: tuple[Look, Look] = await asyncio.gather(batch.look(self._watched), files.look(self._watched))

            silent = self._account.silences.seconds(self._watched.location, *seen)

            if isinstance(seen[1], Over) or silent >= self._silence:
                return True

            if isinstance(seen[0], Over):
                self._files.tell(
                    "end", f"AWS says that job {self._job_id} is over; for {silent:.0f} s no sign of life has come"
                )

        return False

    async def _check_end(self) -> None:
        """Return if the task has ended by itself, or if its runner alone can say how."""
        results = await self._files.results(self._files.job.node_ids)
        ends = await asyncio.to_thread(ends_of, results)

        if len(ends) == len(self._files.job.node_ids) and not {"told", "signal 9"} & {*ends}:
            return

        told = (await self._files.end()).get("told")

        if told == "time limit":
            message = f"AWS Batch job {self._job_id} has reached its time limit; ask for more with time_limit="
            raise BatchJobError(message, state="RUNNING", retry=False)

        if told == "cancel":
            return

        # Somebody may have ended the container and not the task: what the runner says of that is not all.
        over = await self._account.batch.until_over(self._watched, tell=self._tell)
        record = await self._recall()
        message, retry = self._explain(record)

        if told or "OutOfMemory" in over.reason:
            raise BatchJobError(message, state=record.state, retry=retry)

    async def _recall(self) -> Record:
        """Return what AWS says of the job, whatever it is."""
        known = await self._account.batch.describe([self._job_id])
        return known.get(self._job_id) or self._account.batch.record(self._job_id) or Record(self._job_id, "")

    def _explain(self, record: Record) -> tuple[str, bool]:
        ours = is_ours(record.reason, self._files.job.ticket)
        return explain(record, ours=ours, begun=self._files.begun)

    async def _error(self, record: Record) -> BatchJobError:
        if not record.state:
            message = (
                f"AWS Batch no longer knows job {record.job_id}, and its agent left no end in {self._files.folder}"
            )
            return BatchJobError(message, state="", retry=True)

        message, retry = self._explain(record)
        said = await last_lines(self._account.service, self._log_group, record.log_stream)
        return BatchJobError(
            f"{message}\nthe end of its log:\n{said}" if said else message, state=record.state, retry=retry
        )


def ends_of(results: Mapping[str, bytes | Path]) -> list[str | None]:
    """Return by what the tasks were ended of which outcomes are there: one entry for each node."""
    return [read_outcome(file).ended_by for name, file in results.items() if name.endswith(OUTCOME)]
