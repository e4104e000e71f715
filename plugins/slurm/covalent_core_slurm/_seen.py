"""What is seen of a job while it runs, handed on to the core: what it writes, and which nodes of a pack have ended."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from covalent_core import Job, Results
from covalent_core_slurm._cluster import Cluster
from covalent_core_slurm._watch import Sight

#: The beginning of the names of files that hold what a node has written which is not the only one that runs.
NODE = ".node-"

#: The beginnings of the outcome of a node that has not come to its end by itself, or has because it was told to.
TERMINATED = (b'{"status": "TERMINATED"', b'{"status": "CANCELLED"')


class Seen:
    """What is seen of jobs.

    Args:
        folder: Where result files are kept that come from far away.
    """

    def __init__(self, cluster: Cluster, folder: str) -> None:
        self._cluster = cluster
        self._folder = folder
        self._numbers = itertools.count()
        self._fetched: dict[str, dict[str, Path]] = {}
        self._sizes: dict[str, dict[int, Mapping[str, int]]] = {}
        self._reported: dict[str, set[int]] = {}

    async def take(self, job: Job, location: str, sight: Sight) -> None:
        """Hand on what is new in a look."""
        over = {node_id for node_id in job.node_ids if f".{node_id}.outcome" in sight.files}

        if len(job.tasks) > 1 and (new := over - self._reported.setdefault(job.ticket, set())):
            found = await self._fetched_results(job, location, new)
            names = {f"{job.ticket}.{node_id}{ending}" for node_id in new for ending in (".outcome", ".value")}
            job.report_results({n: found[n] for n in names & found.keys() if not _is_terminated(n, found[n])})
            self._reported[job.ticket] |= new

        if not sight.ended:
            await self._show_output(job, location, [node_id for node_id in job.node_ids if node_id not in over], sight)

    async def results(self, job: Job, location: str, node_ids: Collection[int]) -> Results:
        """Return the result files of nodes; one that has not ended has none."""
        if self._cluster.login_node.is_here and len(node_ids) == len(job.node_ids):
            return f"{location}/results"

        return await self._fetched_results(job, location, node_ids)

    async def _fetched_results(self, job: Job, location: str, node_ids: Collection[int]) -> dict[str, Path]:
        found = self._fetched.setdefault(job.ticket, {})

        for node_id in node_ids:
            # The core knows what it means that an outcome is missing.
            with suppress(FileNotFoundError):
                await self._fetch(job, location, f"{job.ticket}.{node_id}", found)

        return dict(found)

    def forget(self, ticket: str) -> None:
        """Keep nothing of a job any more."""
        for path in self._fetched.pop(ticket, {}).values():
            # The core may have moved it.
            with suppress(FileNotFoundError):
                os.unlink(path)

        self._sizes.pop(ticket, None)
        self._reported.pop(ticket, None)

    async def _fetch(self, job: Job, location: str, name: str, found: dict[str, Path]) -> None:
        if f"{name}.outcome" in found:
            return

        outcome = await self._get(job, location, f"{name}.outcome")

        with outcome.open("rb") as file:
            has_value = json.loads(file.readline())["file"]

        if has_value:
            found[f"{name}.value"] = await self._get(job, location, f"{name}.value")

        found[f"{name}.outcome"] = outcome

    async def _get(self, job: Job, location: str, name: str) -> Path:
        # Who runs and who cancels may ask for the same at the same time.
        target = Path(self._folder, f"{name}.{next(self._numbers)}")
        await self._cluster.login_node.get(f"{location}/results/{name}", str(target), job.report_progress)
        return target

    async def _show_output(self, job: Job, location: str, running: Sequence[int], sight: Sight) -> None:
        known = self._sizes.setdefault(job.ticket, {})

        for node_id, sizes in outputs(sight.files, running).items():
            if sizes != known.get(node_id):
                known[node_id] = sizes
                shown = {name.rpartition(".")[2]: f"{location}/results/{job.ticket}{name}" for name in sizes}
                texts = {kind: await self._cluster.folders.read_end(path) for kind, path in shown.items()}
                job.report_output(node_id, texts.get("stdout", ""), texts.get("stderr", ""))


def _is_terminated(name: str, path: Path) -> bool:
    """Return whether it is the outcome of a node that was ended: who has ended it says why, or the end of the job."""
    if not name.endswith(".outcome"):
        # The core may have moved a value that it has had by another way.
        return False

    with path.open("rb") as file:
        return file.read(max(map(len, TERMINATED))).startswith(TERMINATED)


def outputs(files: Mapping[str, int], running: Sequence[int]) -> Mapping[int, Mapping[str, int]]:
    """Return by node the files with what it has written so far, and their sizes.

    Args:
        files: What there is of a job.
        running: Its nodes that have not ended. The first of them runs, unless the files say of which node they are.
    """
    found: dict[int, dict[str, int]] = {}

    for name, size in files.items():
        owner, _, kind = name.rpartition(".")
        named = owner.startswith(NODE)
        node_id = int(owner[len(NODE) :]) if named else next(iter(running), -1)

        if kind in ("stdout", "stderr") and size and node_id in running:
            found.setdefault(node_id, {})[name] = size

    return found
