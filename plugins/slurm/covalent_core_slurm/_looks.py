"""What is looked at for all jobs of a cluster at once: Slurm's queue, and the files that runners leave."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from covalent_core.backend import ENDED, OUTCOME, Alive, Look, Over, Unknown, Watch
from covalent_core_slurm._answers import JobRecord, belongs, is_anothers
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._login_node import LoginNode
from covalent_core_slurm._states import look_of

log = logging.getLogger(__name__)

#: Seconds between looks at the controller, at first and for those who are in a hurry.
FIRST_PAUSE, HURRIED_PAUSE = 0.5, 0.1

#: Seconds between looks at files, which cost the controller nothing, at first and at last: from here and from far away.
LOCAL_PAUSES, FAR_PAUSES = (0.05, 1.0), (0.2, 5.0)


class Watched(NamedTuple):
    """A job, as it is looked for.

    Attributes:
        prefix: The beginning of the names of its result files.
        node_ids: Those of a pack whose outcomes are waited for; none if it is the end of the job.
    """

    job_id: str
    ticket: str
    prefix: str
    node_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Files(Alive):
    """What a runner has left so far: the endings of the names of files, and their sizes."""

    files: Mapping[str, int] = field(default_factory=dict)


class Queue(Watch[Watched]):
    """Slurm's queue. Who is not listed there is asked for by its id.

    Args:
        ceiling: The longest time, in seconds, between two looks at the same job.
    """

    def __init__(self, commands: Commands, ceiling: float) -> None:
        super().__init__(self._look, floor=min(FIRST_PAUSE, ceiling), ceiling=ceiling, hurried=HURRIED_PAUSE)
        self._commands = commands
        self._renamed: set[str] = set()

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        known: dict[str, JobRecord | None] = {record.job_id: record for record in await self._commands.jobs()}

        if missing := {job.job_id for job in jobs} - known.keys():
            known |= await self._commands.known(missing)

        return {job: self._look_of(job, known[job.job_id]) for job in jobs if job.job_id in known}

    def _look_of(self, job: Watched, record: JobRecord | None) -> Look:
        if record is None:
            return Over("", "Slurm no longer knows it")

        if is_anothers(record.name, job.ticket):
            return Over("", "Slurm has given its number to another job")

        if not belongs(record.name, job.ticket) and job.job_id not in self._renamed:
            self._renamed.add(job.job_id)
            log.warning("Slurm job %s is called %r and not %r; it is ours", job.job_id, record.name, job.ticket)

        return look_of(record)


class RunnerFiles(Watch[Watched]):
    """What runners leave. To it a job is over when its runner says that nothing of it is alive."""

    def __init__(self, login_node: LoginNode) -> None:
        floor, ceiling = LOCAL_PAUSES if login_node.is_here else FAR_PAUSES
        super().__init__(self._look, floor=floor, ceiling=ceiling, hurried=floor, what="its files cannot be seen")
        self._login_node = login_node

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        found = await self._login_node.look({job.prefix for job in jobs})
        return {job: _look_at(job, found[job.prefix]) for job in jobs}


def _look_at(job: Watched, files: Mapping[str, int] | str) -> Look:
    if isinstance(files, str):
        return Unknown(files)

    there = job.node_ids and all(f".{node_id}{OUTCOME}" in files for node_id in job.node_ids)
    return Over(ENDED) if there or ENDED in files else Files("begun", files=files)
