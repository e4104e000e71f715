"""Run electrons on this machine with low priority, and cancel members of packs while the others go on."""

import json
from collections.abc import Iterable
from pathlib import Path

from anyio import sleep
from covalent_core_nice import NiceExecutor, is_alive

from covalent_core import Job, hookimpl


class NicePacksExecutor(NiceExecutor):
    """Give each job a process of its own, with low priority; a pack tells of its members."""

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        reported: set[int] = set()

        while is_alive(job_handle):
            for node_id in set(over(job, location, job.node_ids)) - reported:
                job.report_results({file.name: file for file in results_of(job, location, node_id)})
                reported.add(node_id)

            await sleep(0.05)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Path:
        part = Path(location, "results", f"{job.ticket}.cancel.part")
        part.write_text(json.dumps(node_ids))
        part.rename(part.with_suffix(""))

        while is_alive(job_handle) and len(over(job, location, node_ids)) < len(node_ids):
            await sleep(0.01)

        return part.parent


def over(job: Job, location: str, node_ids: Iterable[int]) -> list[int]:
    """Return the nodes of a job that have ended."""
    return [node_id for node_id in node_ids if Path(location, "results", f"{job.ticket}.{node_id}.outcome").exists()]


def results_of(job: Job, location: str, node_id: int) -> list[Path]:
    """Return the result files of a node that has ended."""
    return sorted(Path(location, "results").glob(f"{job.ticket}.{node_id}.*"))
