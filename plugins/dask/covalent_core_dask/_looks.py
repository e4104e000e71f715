"""What is looked at for all jobs of an executor at once: the files of their runners, and the scheduler's tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anyio import to_thread

from covalent_core import Job
from covalent_core.backend import (
    ENDED,
    FOLDER,
    NOBODY,
    PROCESS,
    Alive,
    Claim,
    Look,
    Over,
    ProcessHandle,
    Unknown,
    Watch,
)
from covalent_core.errors import BackendUnreachableError
from covalent_core_dask._cluster import Cluster

#: Seconds between looks at files: at first, at last, and for those who are in a hurry.
FILE_PAUSES = (0.05, 1.0, 0.01)

#: Seconds between looks at the scheduler, likewise.
DASK_PAUSES = (0.5, 5.0, 0.1)

#: How many jobs are looked at in one go.
AT_ONCE = 100

#: What a job that is over may be: its processes were killed; it will never begin; its guardian could not begin it.
LOST, BARRED, FAILED = "lost", "barred", "failed"

#: What Dask says of a task that has not begun, and what that means.
WAITING = {
    "waiting": "its turn in Dask",
    "queued": "its turn in Dask: all workers are busy",
    "no-worker": "a Dask worker that has what it asks for",
    "processing": "a free thread of a Dask worker",
}


class Watched(NamedTuple):
    """A job, as it is looked for.

    Attributes:
        key: What Dask calls it.
        folder: Where its files are.
    """

    key: str
    ticket: str
    folder: str

    @property
    def prefix(self) -> str:
        """The beginning of the names of the files of its runner."""
        return f"{self.folder}/{FOLDER}/{self.ticket}"


class Runners(Watch[Watched]):
    """The runners, by what they leave in files, and by their processes where these can be seen."""

    def __init__(self, cluster: Cluster) -> None:
        floor, ceiling, hurried = FILE_PAUSES
        super().__init__(self._look, chunk=AT_ONCE, floor=floor, ceiling=ceiling, hurried=hurried)
        self._cluster = cluster

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        looks = await to_thread.run_sync(lambda: {job: _look_at_files(job) for job in jobs})
        elsewhere = {job: look.state for job, look in looks.items() if isinstance(look, Alive) and "@" in look.state}
        there = await asyncio.gather(*map(self._look_there, elsewhere.values()))
        return looks | dict(zip(elsewhere, there, strict=True))

    async def _look_there(self, handle: str) -> Look:
        """Ask a worker of its host for the process of a runner."""
        place = ProcessHandle.parse(handle).place
        silent = f"it runs on {place.host}, where no Dask worker answers"

        try:
            for worker in await self._cluster.workers_at(str(place)):
                answer = await self._cluster.ask_beside(worker, "look", handles=[handle])
                alive = answer.get("alive", {}).get(handle)

                if alive is not None:
                    return Alive("runs") if alive else Over(LOST)
        except BackendUnreachableError as error:
            return Unknown(f"{silent}: {error}")

        return Unknown(silent)


def _look_at_files(job: Watched) -> Look:
    try:
        return _look_or_raise(job)
    except OSError as error:
        return Unknown(f"cannot look into {job.folder}: {error.strerror}")


def _look_or_raise(job: Watched) -> Look:
    # The claim first: who has it when it is read may end before the second look.
    owner = owner_of(job)

    if os.path.lexists(job.prefix + ENDED):
        return Over(ENDED)

    if owner == NOBODY or is_gone(job.folder):
        return Over(BARRED, "it was released or barred before it had begun")

    if owner is None:
        return Alive("waits")

    alive = ProcessHandle.parse(owner).is_alive()

    if alive is None:
        return Alive(owner)

    # It may have come to its end since.
    return Alive("runs") if alive else Over(ENDED if os.path.lexists(job.prefix + ENDED) else LOST)


def is_gone(folder: str) -> bool:
    """Return whether the folder of a job was removed, which is done when it is released.

    Raises:
        FileNotFoundError: Not even the folder of all jobs can be seen.
    """
    return not os.path.lexists(folder) and os.path.basename(folder) not in os.listdir(os.path.dirname(folder))


def owner_of(job: Watched) -> str | None:
    """Return who has begun a job, `NOBODY` if it never will be, None if nobody has."""
    try:
        # Who opens a folder of a network file system sees what others have written there since.
        os.close(os.open(Path(job.prefix).parent, os.O_RDONLY))
        return os.readlink(job.prefix + PROCESS)
    except FileNotFoundError:
        return None


class Queue(Watch[Watched]):
    """The scheduler's tasks. What it does not know is no end: it is submitted again, for a job begins only once.

    Args:
        submit: Submits a job again.
    """

    def __init__(self, cluster: Cluster, submit: Callable[[Watched], Awaitable[object]]) -> None:
        floor, ceiling, hurried = DASK_PAUSES
        what = "the Dask cluster does not say how the job is"
        super().__init__(self._look, chunk=AT_ONCE, floor=floor, ceiling=ceiling, hurried=hurried, what=what)
        self._cluster = cluster
        self._submit = submit

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        owners = await to_thread.run_sync(lambda: {job: owner_of(job) for job in jobs})
        waiting = [job for job, owner in owners.items() if owner is None]
        states = await self._cluster.states([job.key for job in waiting]) if waiting else {}
        begun: dict[Watched, Look] = {job: Alive("begun") for job in jobs if job not in waiting}
        return begun | {job: await self._look_at(job, states.get(job.key)) for job in waiting}

    async def _look_at(self, job: Watched, state: str | None) -> Look:
        """Look at a job that nobody had begun a moment ago."""
        if state in WAITING:
            return Alive(state, WAITING[state])

        if state in ("erred", "memory"):
            return await self._give_up(job, state)

        # The scheduler was started anew, or a dispatcher has died before it had the job held.
        await self._submit(job)
        return Alive("submitted again", "its turn in Dask, which had lost it before it had begun")

    async def _give_up(self, job: Watched, state: str) -> Look:
        """See to it that a job never begins whose guardian has come back without having begun it."""
        error = await self._cluster.error(job.key) if state == "erred" else "its guardian came back without a word"

        try:
            owner = await to_thread.run_sync(_bar, job)
        except OSError as problem:
            return Unknown(f"cannot bar a job that Dask could not begin: {problem}")

        return Alive("begun") if owner else Over(FAILED, f"Dask could not begin the task: {error}")


def _bar(job: Watched) -> str | None:
    # Not what is above it: a job that was released has no folder, and must get none.
    Path(job.folder, FOLDER).mkdir(mode=0o700, exist_ok=True)
    return Claim.by_link(job.prefix + PROCESS).bar()


async def until_over(job: Job, watched: Watched, queue: Queue, runners: Runners) -> Over:
    """Return what the first of both says that knows the job to be over; tell at the node what either waits for."""
    waits: dict[str, str] = {}

    def tell(who: str, text: str) -> None:
        waits[who] = text
        job.report_waiting("; ".join(filter(None, waits.values())))

    looks = [
        asyncio.ensure_future(watch.until_over(watched, tell=partial(tell, type(watch).__name__)))
        for watch in (queue, runners)
    ]

    try:
        done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
        return next(look for look in looks if look in done).result()
    finally:
        for look in looks:
            look.cancel()

        await asyncio.wait(looks)
