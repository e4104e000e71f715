"""The executor: the steps of a job, of which Dask sees a guardian."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyio import to_thread

from covalent_core import Job, Results, hookimpl
from covalent_core.backend import LEASE, SharedFolder
from covalent_core.errors import JobEndedError

if TYPE_CHECKING:
    from covalent_core_dask._looks import Watched

#: In the folder of a job: what Dask calls it, there before Dask has heard of it.
KEY = "key"


@dataclass
class DaskExecutor:
    """Run electrons on the workers of a Dask cluster.

    Attributes:
        scheduler_address: The address of the scheduler, ``tcp://...`` or ``tls://...``. Default: a scheduler and a
            worker in the dispatcher, which nobody else can reach.
        workdir: A folder that this machine and all workers see under the same path; relative to the home directory.
            The files of the jobs are there, and the tasks run there.
        environment: Environment variables for the tasks, besides those of the worker.
        tls_ca_file: The file with the certificate authority that the cluster's TLS certificates come from.
        tls_client_cert: The file with the certificate that is shown to the scheduler.
        tls_client_key: The file with the key of that certificate.
        resources: What a task needs of the resources that workers were started with, ``{"GPU": 1}`` for example.
        priority: Tasks with a higher one go first; Dask's own default is 0.
        workers: The names, addresses or hosts of the workers that tasks may go to. Default: all.
        lease: Seconds after which a task ends itself if the dispatcher cannot be heard any more; 0 for never.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
        max_workers: How many jobs may be with Dask at once. Default: as many as there are; in the dispatcher, as many
            as there are processors.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
    """

    scheduler_address: str | None = None
    workdir: str = "covalent-workdir"
    environment: dict[str, str] = field(default_factory=dict)
    tls_ca_file: str | None = None
    tls_client_cert: str | None = None
    tls_client_key: str | None = None
    resources: dict[str, float] = field(default_factory=dict)
    priority: int = 0
    workers: list[str] = field(default_factory=list)
    lease: float = 0.0
    grace: float = 5.0
    max_workers: int | None = None
    pack: int | Literal["chain", "auto"] | None = None

    def __post_init__(self) -> None:
        self._files = SharedFolder(self.workdir)

    async def __aenter__(self) -> DaskExecutor:
        # Only the dispatcher needs distributed, which takes a second to import.
        from covalent_core_dask._cluster import Cluster, security_of
        from covalent_core_dask._ending import Ending
        from covalent_core_dask._looks import Queue, Runners
        from covalent_core_dask._program import Program

        program = Program(self._files.path)
        threads = self.max_workers or len(os.sched_getaffinity(0))
        security = security_of(self.tls_ca_file, self.tls_client_cert, self.tls_client_key)
        self._cluster = Cluster(self.scheduler_address, security, threads, program)
        self._runners = Runners(self._cluster)
        self._queue = Queue(self._cluster, self._submit_again)
        self._ending = Ending(self._cluster, self._files)
        self._futures: dict[str, Any] = {}
        self._running: set[str] = set()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._runners.close()
        self._queue.close()
        await self._cluster.close()

    @hookimpl
    def pickle(self, job: Job) -> None:
        # Where it runs is part of the bundle, which the core makes. What is large stays out of it.
        job.workdir, job.environment, job.values_folder = "..", self.environment, self._files.values_folder(job)

    @hookimpl
    def upload(self, job: Job, payload: bytes | memoryview) -> str:
        location = self._files.upload(job, payload)
        self._files.put_values(job)
        return location

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        watched = self._watched(job, location, key_of(job))
        await to_thread.run_sync(_note_key, location, watched.key)
        await self._submit(watched)
        return watched.key

    @hookimpl
    async def find(self, job: Job, location: str) -> str | None:
        key = await to_thread.run_sync(_read_key, location)

        if await to_thread.run_sync(self._files.bar if job.barred else self._files.find_claim, job, location):
            return key

        # What was asked for may still come: whoever begins first then keeps the others from it.
        known = key is not None and not job.barred and (await self._cluster.states([key]))[key] is not None
        return key if known else None

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> str:
        from covalent_core_dask._looks import FAILED, LOST, owner_of, until_over

        watched = self._watched(job, location, job_handle)
        self._running.add(job.ticket)

        async with self._following(job, watched):
            over = await until_over(job, watched, self._queue, self._runners)

        if over.state == FAILED:
            raise JobEndedError(over.reason)

        owner = await to_thread.run_sync(owner_of, watched) if over.state == LOST else None
        return await self._ending.bury(watched, owner) if owner else over.reason

    @hookimpl
    def fetch(self, location: str) -> Path:
        return self._files.fetch(location)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        from covalent_core_dask._looks import is_gone

        if await to_thread.run_sync(is_gone, location):
            # It was released, when nothing of it was alive.
            return None

        # Whoever has not begun by now never will: the permit is taken back.
        owner = await to_thread.run_sync(self._files.bar, job, location)

        if owner is None:
            return None

        # A full disk keeps nobody from ending it.
        with suppress(OSError):
            await to_thread.run_sync(self._files.say_how_to_end, job, location)

        await self._ending.end(job, self._watched(job, location, job_handle), owner)
        return self._files.fetch(location)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        over = self._runners.until_over(self._watched(job, location, job_handle))
        return await self._files.cancel_members(job, location, node_ids, over)

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        folder = location or self._files.location(job)
        self._futures.pop(job.ticket, None)
        self._running.discard(job.ticket)

        if (key := await to_thread.run_sync(_read_key, folder)) is not None:
            await to_thread.run_sync(self._files.bar, job, folder)
            await self._cluster.forget(key)

        await to_thread.run_sync(self._files.release, job, location)

    async def _submit(self, watched: Watched) -> None:
        """Let Dask have a guardian for a job."""
        options = {
            "priority": self.priority,
            "resources": self.resources or None,
            "workers": self.workers or None,
        }
        order = {
            "ticket": watched.ticket,
            "folder": watched.folder,
            # A runner with a lease also looks for an order to end.
            "lease": self.lease or float("inf"),
        }
        self._futures[watched.ticket] = await self._cluster.submit(watched.key, options, "guard", **order)

    async def _submit_again(self, watched: Watched) -> None:
        """Let Dask have another guardian for a job that it has lost, unless nobody wants it any more."""
        if watched.ticket in self._running:
            await self._submit(watched)

        if watched.ticket not in self._running:
            # It was released in the meantime.
            await self._cluster.forget(watched.key)

    def _watched(self, job: Job, location: str, key: str) -> Watched:
        from covalent_core_dask._looks import Watched

        return Watched(key, job.ticket, location)

    @asynccontextmanager
    async def _following(self, job: Job, watched: Watched) -> AsyncIterator[None]:
        """Report what tasks write, and look again when the guardian has come back, as long as `run` waits."""
        tasks = [asyncio.create_task(self._hear(watched))]
        tasks += [asyncio.create_task(self._renew(watched))] if self.lease else []

        try:
            async with self._files.following(job, watched.folder):
                yield
        finally:
            for task in tasks:
                task.cancel()

            await asyncio.wait(tasks)

    async def _hear(self, watched: Watched) -> None:
        if future := self._futures.get(watched.ticket):
            await self._cluster.came_back(future)
            self._runners.hurry(watched)
            self._queue.hurry(watched)

    async def _renew(self, watched: Watched) -> None:
        """Let the runner know that it is still wanted."""
        while True:
            # Before it has begun there is nothing to be renewed.
            with suppress(OSError):
                await to_thread.run_sync(os.utime, watched.prefix + LEASE)

            await asyncio.sleep(self.lease / 4)


def key_of(job: Job) -> str:
    """Return what Dask calls a job: its dashboard shows what stands before the ticket."""
    name = re.sub(r"\W", "_", job.tasks[0].name) or "task"
    return f"{name}-{job.ticket}"


def _note_key(folder: str, key: str) -> None:
    part = Path(folder, f"{KEY}.{os.getpid()}")
    part.write_text(key)
    part.rename(Path(folder, KEY))


def _read_key(folder: str) -> str | None:
    """Return what Dask calls a job, None if it has never heard of it."""
    with suppress(FileNotFoundError):
        return Path(folder, KEY).read_text()

    return None
