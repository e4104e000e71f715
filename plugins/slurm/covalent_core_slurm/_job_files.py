"""The files of one job, as they are seen and fetched: what its tasks write, and their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from covalent_core import Job
from covalent_core.backend import FOLDER, Following, Unknown, beside, fetch_results
from covalent_core.errors import BackendUnreachableError
from covalent_core_slurm._cluster import Cluster
from covalent_core_slurm._looks import Files, Watched


class JobFiles:
    """The files of one job.

    Args:
        folder: Where they are.
    """

    def __init__(self, cluster: Cluster, job: Job, folder: str) -> None:
        self.job = job
        self.folder = folder
        self.prefix = f"{folder}/{FOLDER}/{job.ticket}"
        self._cluster = cluster
        self._waits: dict[str, str] = {}

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
            path = f"{self.folder}/{FOLDER}/{name}"
            await self._cluster.login_node.get(path, str(target), self.job.report_progress)

        return await fetch_results(self.job, node_ids, get)

    def following(self) -> AbstractAsyncContextManager[None]:
        """Report what tasks write, and which nodes of a pack have ended, as long as `run` waits within this."""
        return beside(self._follow())

    async def _follow(self) -> None:
        watched = Watched("", self.job.ticket, self.prefix)
        following = Following(self.job, self._read_end, self.results)

        while True:
            look = await self._cluster.files.look(watched)
            self.tell("files", look.why if isinstance(look, Unknown) else "")

            if isinstance(look, Files):
                try:
                    await following.show(look.files)
                except BackendUnreachableError as error:
                    # What cannot be read says nothing about the job.
                    self.tell("files", str(error))

    async def _read_end(self, name: str) -> bytes:
        return await self._cluster.folders.read_end(self.prefix + name)
