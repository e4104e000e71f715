"""The files of one job, as they are seen and fetched: what its tasks write, and their results."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from covalent_core import Job
from covalent_core.backend import FOLDER, OUTCOME, Output, Unknown, fetch_results, read_outcome
from covalent_core.errors import BackendUnreachableError
from covalent_core_awsbatch._account import Account
from covalent_core_awsbatch._looks import Files, Watched
from covalent_core_awsbatch._objects import Folder
from covalent_core_awsbatch.errors import BatchError


class JobFiles:
    """The files of one job.

    Args:
        linked: Whether the job has no role, and so needs links that are made anew in time.
    """

    def __init__(self, account: Account, job: Job, location: str, *, linked: bool) -> None:
        self.job = job
        self.folder = Folder.parse(location)
        self._account = account
        self._linked = linked
        self._waits: dict[str, str] = {}
        self._output = Output(job)
        self._reported: set[int] = set()
        #: Whether somebody has won the job, as far as it is known here.
        self.begun = False

    def tell(self, who: str, text: str) -> None:
        """Say at the node what one of those waits for who look at the job; nothing if the text is empty."""
        self._waits[who] = text
        self.job.report_waiting("; ".join(filter(None, self._waits.values())))

    async def results(self, node_ids: Collection[int]) -> Mapping[str, bytes | Path]:
        """Return the result files of nodes; one that has not ended has none.

        Raises:
            BackendUnreachableError: They are not to be seen as a whole.
        """

        async def get(name: str, target: Path) -> None:
            await self._account.objects.download(self.folder, self._name(name[len(self.job.ticket) :]), target)

        return await fetch_results(self.job, node_ids, get)

    async def end(self) -> dict[str, Any]:
        """Return what the agent says of the end, nothing if it does not say any."""
        with suppress(FileNotFoundError):
            said: dict[str, Any] = json.loads(await self._account.objects.get(self.folder, "results/ended"))
            return said

        return {}

    async def order(self, order: Mapping[str, Any]) -> None:
        """Give the agent an order."""
        await self._account.objects.put(self.folder, "orders", json.dumps(order).encode(), ending=True)

    async def ordered_ends(self) -> list[int]:
        """Return the nodes that were to be ended before."""
        with suppress(FileNotFoundError):
            nodes: list[int] = json.loads(await self._account.objects.get(self.folder, "orders")).get("nodes", [])
            return nodes

        return []

    @asynccontextmanager
    async def following(self, job_handle: str) -> AsyncIterator[None]:
        """Report what tasks write, and which nodes of a pack have ended, as long as `run` waits within this."""
        task = asyncio.create_task(self._follow(Watched(job_handle, str(self.folder))))

        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

        if not task.cancelled():
            task.result()

    async def _follow(self, watched: Watched) -> None:
        while True:
            look = await self._account.files.look(watched)
            self.tell("files", look.why if isinstance(look, Unknown) else "")

            try:
                if isinstance(look, Files):
                    self.begun = bool(look.owners)
                    await self._renew_links(look)
                    await self._report_ended(look.results)
                    await self._output.show(look.results, self._read_end)
            except (BackendUnreachableError, BatchError) as error:
                # What cannot be read says nothing about the job.
                self.tell("files", str(error))

    async def _read_end(self, name: str) -> bytes:
        return await self._account.objects.get(self.folder, self._name(name))

    async def _report_ended(self, files: Mapping[str, str]) -> None:
        if len(self.job.tasks) > 1:
            ended = {node_id for node_id in self.job.node_ids if f".{node_id}{OUTCOME}" in files} - self._reported

            for node_id in ended:
                found = await self.results([node_id])
                self._reported.add(node_id)
                outcome = found.get(f"{self.job.ticket}.{node_id}{OUTCOME}")

                # Who has ended a node says why, or the end of the job does.
                if outcome is not None and read_outcome(outcome).status not in ("TERMINATED", "CANCELLED"):
                    self.job.report_results(found)

    async def _renew_links(self, look: Files) -> None:
        """Make the links of a job anew in time."""
        links = self._account.links

        if self._linked and look.there and links.are_due(self.folder):
            # The last order that is owned may be void, and another one on its way.
            orders = range(max(look.owners, default=0) + 2)
            new = await links.of_job(self.folder, orders, self.job.node_ids)
            await self._account.objects.put(self.folder, "links", new)

    @staticmethod
    def _name(ending: str) -> str:
        """Return the name in the bucket of a file of which the runner's name ends so."""
        return f"{FOLDER}/{ending[1:]}"
