"""The executor: the steps of a job, as requests to the agent of its host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from covalent_core import Job, Perhaps, Results, hookimpl
from covalent_core.backend import FOLDER, Following, beside, fetch_results, options
from covalent_core.errors import BackendUnreachableError
from covalent_core_ssh.errors import SSHError, SSHLineLostError
from covalent_core_ssh.host import SSHHost


@options(
    renamed={"remote_cache": "remote_workdir"},
    retired={
        "run_local_on_ssh_fail": "has no place here: a host that does not answer may be running the task already; to "
        "start it on this machine, name another executor"
    },
    ignored={
        "poll_freq": "has no effect: nothing is polled, the host says when a task has ended",
        "cache_dir": "has no effect: results are kept with the dispatch",
    },
)
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
        from covalent_core_ssh._agents import Agents
        from covalent_core_ssh.connection import SSHConnection

        def start(connection: SSHConnection) -> AgentLine:
            return AgentLine(
                connection,
                python_path=self.python_path,
                conda_env=self.conda_env,
                prerun_commands=self.prerun_commands,
                workdir=self.remote_workdir,
                lease=self.lease,
            )

        self._agents = Agents(self, start)
        self._never_there: set[str] = set()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._agents.close()

    @hookimpl
    def pickle(self, job: Job) -> None:
        # Where it runs is part of the bundle, which the core makes.
        job.workdir = self._workdir(job)

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        with _again_if_lost():
            self._never_there.add(job.ticket)
            folder = await self._folder(job)
            self._never_there.discard(job.ticket)
            await self._agents.ask("prepare", ticket=job.ticket, folder=folder)
            await self._agents.first.connection.put(payload, f"{folder}/bundle.pyz", job.report_progress)
            return folder

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        # To ask twice does no harm: the agent starts what nobody has started.
        order = {"ticket": job.ticket, "folder": location, "workdir": self._workdir(job), "lease": self.lease}

        with _again_if_lost():
            return str((await self._agents.ask("start", **order))["handle"])

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> str:
        order = {"ticket": job.ticket, "folder": location, "lease": self.lease}

        async with self._following(job, location, job_handle):
            answer = await self._agents.ask_about(job_handle, "wait", **order)

        if answer["complete"]:
            return ""

        return f"{self.place}, where the task ran, was booted since, or its files were removed; {answer['log']}"

    @hookimpl
    async def fetch(self, job: Job, location: str) -> Results:
        async with self._agents.patience():
            return await self._get_results(job, location, job.node_ids)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        order = {"ticket": job.ticket, "folder": location, "grace": job.cancel_grace, "reason": job.cancel_reason}
        answer = await self._agents.ask_about(job_handle, "end", **order)
        return await self._results_at_hand(job, location, job.node_ids) if answer["complete"] else None

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results | None:
        order = {"ticket": job.ticket, "folder": location, "node_ids": node_ids}
        await self._agents.ask_about(job_handle, "end_members", **order)
        return await self._results_at_hand(job, location, node_ids)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        async with self._agents.patience():
            answer = await self._agents.ask("find", ticket=job.ticket, folder=location, forbid=job.barred)

        if answer["starting"]:
            return Perhaps(f"{self.place} is about to start it")

        return None if answer["handle"] is None else str(answer["handle"])

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        if job.ticket in self._never_there:
            self._never_there.discard(job.ticket)
            return

        async with self._agents.patience():
            folder = location or await self._folder(job)
            workdir = os.path.normpath(f"{folder}/{self._workdir(job)}") if self.create_unique_workdir else ""
            order = {"ticket": job.ticket, "folder": folder, "workdir": workdir, "keep": not self.do_cleanup}
            await self._agents.ask("release", **order)

    async def _folder(self, job: Job) -> str:
        """Return where the files of a job are."""
        return f"{await self._agents.first.workdir()}/{job.ticket}"

    def _workdir(self, job: Job) -> str:
        """Return where a job runs, as seen from the folder of its own files."""
        return f"../{job.dispatch_id}/node_{job.node_ids[0]}" if self.create_unique_workdir else ".."

    @asynccontextmanager
    async def _following(self, job: Job, location: str, job_handle: str) -> AsyncIterator[None]:
        """Report what the agent sees of a job while it is waited for."""
        looks: asyncio.Queue[Mapping[str, int]] = asyncio.Queue()

        async def read_end(name: str) -> bytes:
            order = {"ticket": job.ticket, "folder": location, "name": name}
            content = (await self._agents.ask_about(job_handle, "read_end", **order))["content"]
            return b"" if content is None else str(content).encode("latin-1")

        async def report() -> None:
            following = Following(job, read_end, lambda node_ids: self._results_at_hand(job, location, node_ids))

            while True:
                files = await looks.get()

                # What cannot be read says nothing about the job.
                with suppress(BackendUnreachableError):
                    await following.show(files)

        with self._agents.listening(job_handle, job.ticket, lambda news: looks.put_nowait(news["files"])):
            async with beside(report()):
                yield

    async def _results_at_hand(self, job: Job, location: str, node_ids: Collection[int]) -> Mapping[str, Any] | None:
        """Return result files that nobody has to have, if they can be had now."""
        with suppress(SSHError, BackendUnreachableError, OSError):
            return await self._get_results(job, location, node_ids)

        return None

    async def _get_results(self, job: Job, location: str, node_ids: Collection[int]) -> Mapping[str, Any]:
        async def get(name: str, target: Path) -> None:
            connection = self._agents.first.connection
            await connection.get(f"{location}/{FOLDER}/{name}", str(target), job.report_progress)

        return await fetch_results(job, node_ids, get)


@contextmanager
def _again_if_lost() -> Iterator[None]:
    """Let the core do it again where the line was lost in the middle of it."""
    try:
        yield
    except SSHLineLostError as error:
        raise BackendUnreachableError(str(error)) from error
