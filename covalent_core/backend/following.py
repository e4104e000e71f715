"""What is told of a job that runs: what its tasks write, and which nodes of a pack have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import TypeAlias

from covalent_core._model.job import Job, Value
from covalent_core._runner.protocol import OUTCOME
from covalent_core.backend.output import Output, ReadEnd
from covalent_core.backend.results import read_outcome

#: Returns the result files of some nodes, as `fetch_results` does.
Fetch: TypeAlias = Callable[[Collection[int]], Awaitable[Mapping[str, Value] | None]]


class Following:
    """Reports what the looks at the files of a job have shown of it.

    Args:
        job: The job; its reports are called.
        read_end: Returns the end of a file, see `Output.show`.
        fetch: Returns the result files of nodes that have ended, or None if they cannot be had now.
    """

    def __init__(self, job: Job, read_end: ReadEnd, fetch: Fetch) -> None:
        self._job = job
        self._read_end = read_end
        self._fetch = fetch
        self._output = Output(job)
        self._reported: set[int] = set()

    async def show(self, files: Mapping[str, Hashable]) -> None:
        """Report what is new in a look.

        Args:
            files: What there is, see `Output.show`.

        Raises:
            Exception: What `read_end` and `fetch` raise; the next look shows again what was not reported.
        """
        if len(self._job.tasks) > 1:
            await self._report_ended(files)

        await self._output.show(files, self._read_end)

    async def _report_ended(self, files: Mapping[str, Hashable]) -> None:
        ended = {node_id for node_id in self._job.node_ids if f".{node_id}{OUTCOME}" in files} - self._reported

        for node_id in ended:
            found = await self._fetch([node_id])

            if found is not None:
                self._reported.add(node_id)
                outcome = found.get(f"{self._job.ticket}.{node_id}{OUTCOME}")

                # Who has ended a node says why, or the end of the job does.
                if outcome is not None and read_outcome(outcome).status not in ("TERMINATED", "CANCELLED"):
                    self._job.report_results(found)
