"""The nodes of a pack while it runs: seen as each ends, and ended alone when only they are cancelled."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from anyio import CancelScope, Event, create_task_group, move_on_after

from covalent_core._dispatch.ends import Ends
from covalent_core._dispatch.outcomes import in_results, take_over
from covalent_core._model.job import Job, Value
from covalent_core._store.values import Values

#: How often is looked for what a hook has reported from another thread.
THREAD_SECONDS = 0.2


class PackRun(Protocol):
    """The job that these nodes are in."""

    name: str
    job: Job
    ends: Ends
    values: Values

    async def cancel_members(self, node_ids: Collection[int]) -> None:
        """End some of the nodes while the others go on."""


class Members:
    """What is to be done for single nodes of a job between the beginning and the end of its run."""

    def __init__(self, run: PackRun) -> None:
        self._run = run
        self._arrived: dict[str, Value] = {}
        self._news = Event()
        self._thread = threading.get_ident()
        run.job._take = self._report

    def look_again(self) -> None:
        """Nodes may have been cancelled."""
        self._news.set()

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Attend to the nodes while the block runs; what the block raises leaves as it is, not in a group."""
        problem: Exception | None = None

        async with create_task_group() as company:
            company.start_soon(self._attend, name=f"{self._run.name} members")

            try:
                yield
            except Exception as error:
                problem = error

            company.cancel_scope.cancel()

        if problem is not None:
            raise problem

    def _report(self, results: Mapping[str, Value]) -> None:
        self._arrived |= results

        # From the thread of a blocking hook an event cannot be set.
        if threading.get_ident() == self._thread:
            self._news.set()

    async def _attend(self) -> None:
        while True:
            self._news = Event()
            await self._take_over()
            cancelled = self._run.ends.stopped

            if cancelled and not self._run.job.cancel_requested:
                await self._run.cancel_members(cancelled)

            with move_on_after(THREAD_SECONDS):
                await self._news.wait()

    async def _take_over(self) -> None:
        results, self._arrived = self._arrived, {}
        job = self._run.job
        there = in_results(job, self._run.ends.open, results)

        if there:
            # Not interrupted by the end of the run: what is being stored must also be told.
            with CancelScope(shield=True):
                ends = await take_over(job, there, results, self._run.values)
                await self._run.ends.store(ends)
