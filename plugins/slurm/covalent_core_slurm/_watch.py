"""One look at a cluster for all who wait for something of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from covalent_core_slurm._answers import JobRecord, belongs, key_of
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._files import BEGUN_FILE, TERMINATED
from covalent_core_slurm._login_node import LoginNode

#: Seconds between looks at the controller: a quarter of the age of the youngest who waits, from this on.
FIRST_PAUSE = 0.5

#: Seconds between looks at the controller for those who are in a hurry.
HURRIED_PAUSE = 0.1

#: Seconds between looks at the files of jobs, which cost the controller nothing: at first from here and from far away,
#: and at last.
FIRST_LOCAL_PAUSE, FIRST_FAR_PAUSE, LAST_FILE_PAUSE = 0.05, 0.2, 5.0


class Sight(NamedTuple):
    """What a look has shown of a job.

    Attributes:
        record: What the controller knows of it, None if nothing.
        asked: Whether the controller was asked at all.
        files: What its runner has left: the endings of the names of files, and their sizes.
    """

    record: JobRecord | None
    asked: bool
    files: Mapping[str, int]

    @property
    def ended(self) -> bool:
        """Whether its runner has ended by itself."""
        return ".ended" in self.files

    @property
    def terminated(self) -> bool:
        """Whether its runner has ended because somebody else has ended its task."""
        return TERMINATED in self.files


class Waiter:
    """Somebody who waits for something of a job.

    Attributes:
        ticket: The name of the job.
        prefix: The beginning of the names of its result files.
        job_id: Its number, where it is known.
        key: What Slurm knows it by, where its number is not known: its name, or that of its array and its place there.
        longest_pause: The longest time, in seconds, between two looks at the controller.
        since: When the waiting began: the longer it takes, the rarer the looks.
    """

    def __init__(
        self, ticket: str, prefix: str, *, job_id: str = "", key: str = "", longest_pause: float = 30.0
    ) -> None:
        self.ticket = ticket
        self.prefix = prefix
        self.job_id = job_id
        self.key = key or ticket
        self.longest_pause = longest_pause
        self.since = time.monotonic()
        self.answer: asyncio.Future[Sight] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether it waits no more, or not yet again."""
        return self.answer is None or self.answer.done()


class Watch:
    """Look at all jobs that somebody waits for at once: one squeue per interval, however many they are."""

    def __init__(self, commands: Commands, login_node: LoginNode) -> None:
        self._commands = commands
        self._login_node = login_node
        self._waiting: set[Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[JobRecord]] | None = None
        self._asked_at = float("-inf")
        self._hurry = asyncio.Event()

    async def look(self, waiter: Waiter, *, now: bool = False) -> Sight:
        """Return what the next look shows.

        Args:
            now: Ask the controller in this look, and make it at once.

        Raises:
            ExecutorError: The login node or the controller could not be asked.
        """
        waiter.answer = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)

        if now:
            self._hurry.set()

        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

        try:
            return await waiter.answer
        finally:
            self._waiting.discard(waiter)

    async def ask_now(self) -> Sequence[JobRecord]:
        """Return what the controller knows of all jobs; who asks at the same time has the same answer.

        Raises:
            ExecutorError: It has not answered.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())

        return await asyncio.shield(self._asking)

    def close(self) -> None:
        """Look no more."""
        for task in (self._looking, self._asking):
            if task is not None:
                task.cancel()

    async def _ask(self) -> list[JobRecord]:
        # Who comes while it waits shares it; who comes when it has been sent may have just changed something.
        await asyncio.sleep(max(0.0, self._asked_at + HURRIED_PAUSE - time.monotonic()))
        self._asking, self._asked_at = None, time.monotonic()
        return await self._commands.jobs()

    async def _look_on(self) -> None:
        """Look again and again, as long as anybody waits."""
        try:
            while self._waiting:
                await self._pause()
                await self._look_once([waiter for waiter in self._waiting if not waiter.is_answered])
                # Whoever has had an answer asks again first.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        finally:
            self._looking = None

    async def _pause(self) -> None:
        age = min(time.monotonic() - waiter.since for waiter in self._waiting)
        longest = min(waiter.longest_pause for waiter in self._waiting)

        first = FIRST_LOCAL_PAUSE if self._login_node.is_here else FIRST_FAR_PAUSE

        try:
            seconds = min(max(age / 20, first), LAST_FILE_PAUSE, longest)
            await asyncio.wait_for(self._hurry.wait(), seconds)
        except asyncio.TimeoutError:
            return

    async def _look_once(self, waiters: list[Waiter]) -> None:
        try:
            sights = await self._sights(waiters) if waiters else []
        except Exception as error:
            for waiter in waiters:
                if waiter.answer is not None and not waiter.answer.done():
                    waiter.answer.set_exception(error)

            return

        for waiter, sight in zip(waiters, sights, strict=True):
            if waiter.answer is not None and not waiter.answer.done():
                waiter.answer.set_result(sight)

    async def _sights(self, waiters: list[Waiter]) -> list[Sight]:
        """Look at the controller first, if it is time: what is over for it has left all its files before."""
        asked = self._hurry.is_set() or self._is_due(waiters)
        self._hurry.clear()
        records = Records(await self.ask_now() if asked else [])
        files = await self._login_node.look({waiter.prefix for waiter in waiters})
        return [Sight(records.of(waiter, files[waiter.prefix]), asked, files[waiter.prefix]) for waiter in waiters]

    def _is_due(self, waiters: list[Waiter]) -> bool:
        age = min(time.monotonic() - waiter.since for waiter in waiters)
        pause = min(max(age / 4, FIRST_PAUSE), *(waiter.longest_pause for waiter in waiters))
        return time.monotonic() >= self._asked_at + pause


class Records:
    """What the controller knows, by the number and by the name of each job."""

    def __init__(self, records: Sequence[JobRecord]) -> None:
        self._by_id = {record.job_id: record for record in records}
        self._by_key = {key_of(record): record for record in records}
        self._by_array = {record.job_id.partition("_")[0]: record for record in records if "_" in record.job_id}

    def of(self, waiter: Waiter, files: Collection[str]) -> JobRecord | None:
        """Return what is known of the job that somebody waits for.

        Args:
            files: The endings of the names of the files that its runner has left.
        """
        record = self._by_id.get(waiter.job_id) if waiter.job_id else self._by_key.get(waiter.key)

        if (
            record is None
            and BEGUN_FILE not in files
            and (array := self._by_array.get(waiter.job_id.partition("_")[0]))
        ):
            # Slurm forgets at once an element that is cancelled alone while it waits.
            record = array._replace(job_id=waiter.job_id, state="CANCELLED", reason="", exit_code="")

        # Numbers are given again, names are not.
        return record if record is not None and belongs(record.name, waiter.ticket) else None
