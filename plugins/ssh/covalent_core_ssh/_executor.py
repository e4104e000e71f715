"""The executor: the steps of a job, as requests to the agent of its host."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from covalent_core import Job, Results, hookimpl
from covalent_core.errors import ExecutorError
from covalent_core_ssh.errors import SSHError, SSHLineLostError
from covalent_core_ssh.host import SSHHost

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class SSHExecutor(SSHHost):
    """Run electrons on a machine that is reached with SSH. It needs Python 3.8 or newer there, and nothing else.

    Attributes:
        python_path: The interpreter there.
        conda_env: The conda environment to activate before it is started.
        prerun_commands: Shell commands that come before all else, such as ``module load python/3.11``.
        remote_workdir: The folder there for all jobs; relative to the home directory, ``~`` and ``$NAME`` are known.
        create_unique_workdir: Whether each task runs in a folder of its own, ``<dispatch id>/node_<id>`` below
            `remote_workdir`, instead of in `remote_workdir`. What a task writes there stays.
        do_cleanup: Whether the files of a job itself are removed when it has ended.
        lease: Seconds after which a job ends itself when this dispatcher cannot be heard; 0 for never.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
        max_workers: How many jobs run there at once.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
    """

    python_path: str = "python3"
    conda_env: str | None = None
    prerun_commands: list[str] = field(default_factory=list)
    remote_workdir: str = "covalent-workdir"
    create_unique_workdir: bool = False
    do_cleanup: bool = True
    lease: float = 0.0
    grace: float = 5.0
    max_workers: int = 32
    pack: int | Literal["chain", "auto"] | None = None

    async def __aenter__(self) -> SSHExecutor:
        # Only the dispatcher needs asyncssh, not everybody who names this executor.
        from covalent_core_ssh._agent_line import AgentLine
        from covalent_core_ssh.connection import SSHConnection

        self._connection = SSHConnection(self)
        self._agent = AgentLine(
            self._connection,
            python_path=self.python_path,
            conda_env=self.conda_env,
            prerun_commands=self.prerun_commands,
            workdir=self.remote_workdir,
            lease=self.lease,
        )
        self._numbers = itertools.count()
        self._found: dict[str, dict[str, Path]] = {}
        self._results = tempfile.TemporaryDirectory(prefix="covalent-core-ssh-", ignore_cleanup_errors=True)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._results.cleanup()
        await self._agent.close()
        await self._connection.close()

    @hookimpl
    def pickle(self, job: Job) -> None:
        # Where it runs is part of the bundle, which the core makes.
        job.workdir = self._workdir(job)

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        async def put() -> str:
            folder = f"{await self._agent.workdir()}/{job.ticket}"
            await self._agent.ask("prepare", folder=folder)
            await self._connection.put(payload, f"{folder}/bundle.pyz", job.report_progress)
            return folder

        return await self._again(put)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        # To ask twice does no harm: the agent starts what nobody has started.
        order = {"ticket": job.ticket, "folder": location, "workdir": self._workdir(job), "lease": self.lease}
        answer = await self._again(lambda: self._agent.ask("start", **order))
        return str(answer["handle"])

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        order = {"ticket": job.ticket, "folder": location, "handle": job_handle, "lease": self.lease}

        async with self._following(job, location):
            answer = await self._patiently(lambda: self._agent.ask("wait", **order, node_ids=job.node_ids))

        if not answer["complete"]:
            raise ExecutorError(
                f"process {job_handle.split('.')[0]} on {self.place}, which supervised the task, was ended from outside"
            )

    @hookimpl
    async def fetch(self, job: Job, location: str) -> Results:
        return await self._patiently(lambda: self._get_results(job, location))

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        order = {"ticket": job.ticket, "folder": location, "handle": job_handle, "grace": job.grace}
        answer = await self._agent.ask("end", **order)
        return await self._get_results(job, location) if answer["complete"] else None

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        order = {"ticket": job.ticket, "folder": location, "handle": job_handle, "node_ids": node_ids}
        await self._agent.ask("end_members", **order)
        return await self._get_results(job, location, node_ids)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | None:
        answer = await self._agent.ask("find", ticket=job.ticket, folder=location, forbid=job.cancel_requested)
        return None if answer["handle"] is None else str(answer["handle"])

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        self._found.pop(job.ticket, None)

        for name in os.listdir(self._results.name):
            if name.startswith(f"{job.ticket}."):
                os.unlink(os.path.join(self._results.name, name))

        async def remove() -> None:
            folder = location or f"{await self._agent.workdir()}/{job.ticket}"
            workdir = os.path.normpath(f"{folder}/{self._workdir(job)}") if self.create_unique_workdir else ""
            await self._agent.ask("remove", folder=folder, workdir=workdir)

        async def bar() -> None:
            await self._agent.ask("find", ticket=job.ticket, folder=location, forbid=True)

        if self.do_cleanup:
            await self._again(remove)
        elif location is not None:
            await self._again(bar)

    def _workdir(self, job: Job) -> str:
        """Return where a job runs, as seen from the folder of its own files."""
        return f"../{job.dispatch_id}/node_{job.node_ids[0]}" if self.create_unique_workdir else ".."

    @asynccontextmanager
    async def _following(self, job: Job, location: str) -> AsyncIterator[None]:
        """Report what the agent sees of a job while it is waited for."""
        news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def report() -> None:
            while True:
                word = await news.get()

                if "output" in word:
                    job.report_output(*word["output"])

                if "ended" in word and len(job.tasks) > 1:
                    get_results = partial(self._get_results, job, location, word["ended"])
                    job.report_results(await self._patiently(get_results))

        with self._agent.listening(job.ticket, news.put_nowait):
            reporting = asyncio.create_task(report())

            try:
                yield
            finally:
                reporting.cancel()
                await asyncio.wait([reporting])

        if not reporting.cancelled():
            reporting.result()

    async def _get_results(self, job: Job, location: str, node_ids: Sequence[int] | None = None) -> dict[str, Path]:
        found = self._found.setdefault(job.ticket, {})

        for node_id in job.node_ids if node_ids is None else node_ids:
            name = f"{job.ticket}.{node_id}"

            if f"{name}.outcome" in found:
                continue

            # The core knows what it means that an outcome is missing.
            with suppress(FileNotFoundError):
                outcome = await self._get(job, location, f"{name}.outcome")

                with outcome.open("rb") as file:
                    has_value = json.loads(file.readline())["file"]

                if has_value:
                    found[f"{name}.value"] = await self._get(job, location, f"{name}.value")

                found[f"{name}.outcome"] = outcome

        return dict(found)

    async def _get(self, job: Job, location: str, name: str) -> Path:
        # Who runs and who cancels may ask for the same at the same time.
        target = Path(self._results.name, f"{name}.{next(self._numbers)}")
        await self._connection.get(f"{location}/results/{name}", str(target), job.report_progress)
        return target

    async def _again(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do it again where the line was lost in the middle of it."""
        for _ in range(self.attempts - 1):
            with suppress(SSHLineLostError):
                return await operation()

        return await operation()

    async def _patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do it, however long the host is out of reach: a task that runs is not lost because its line is."""
        while True:
            pause = asyncio.create_task(asyncio.sleep(self.retry_wait_time))

            try:
                return await operation()
            except SSHError as error:
                log.warning("waiting for %s: %s", self.place, error)
                await pause
            finally:
                pause.cancel()
