"""What the agent of a hybrid job brings to S3, shown and reported as it comes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from anyio import sleep

from covalent_core import Job
from covalent_core.backend import ENDED, FOLDER, OUTCOME, Output, fetch_results
from covalent_core.errors import ExecutorError
from covalent_core_braket._storage import Folder

#: Seconds between two looks at the files of a job, at first.
FIRST_PAUSE = 0.2


class Following:
    """The files of a job, looked at for as long as somebody waits for it.

    Args:
        longest: The longest time, in seconds, between two looks.
    """

    def __init__(self, job: Job, folder: Folder, longest: float) -> None:
        self._job = job
        self._folder = folder
        self._longest = longest
        self._output = Output(job)
        self._reported: set[int] = set()

    async def until_ended(self) -> None:
        """Return when the agent says that all nodes have ended and nothing is alive."""
        began = time.monotonic()

        while not await self._has_ended():
            await sleep(min(max(FIRST_PAUSE, (time.monotonic() - began) / 4), self._longest))

    async def _has_ended(self) -> bool:
        try:
            return ENDED in await self.look()
        except ExecutorError as error:
            # Files that cannot be seen say nothing about the job.
            self._job.report_waiting(f"the files of the job cannot be looked at: {error}")
            return False

    async def look(self) -> Mapping[str, object]:
        """Report what is new, and return what files there are, by what follows the ticket in their names."""
        files = await self._folder.files(self._job)
        nodes = [node_id for node_id in self._job.node_ids if f".{node_id}{OUTCOME}" in files]
        new = [node_id for node_id in nodes if node_id not in self._reported]

        if len(self._job.tasks) > 1 and new:
            self._job.report_results(await results(self._job, self._folder, new))
            self._reported.update(new)

        await self._output.show(files, lambda name: self._folder.result(self._job, name))
        return files


async def results(job: Job, folder: Folder, node_ids: Sequence[int]) -> Mapping[str, bytes | Path]:
    """Return the result files of some nodes that have ended."""
    return await fetch_results(job, node_ids, lambda name, target: folder.download(f"{FOLDER}/{name}", target))
