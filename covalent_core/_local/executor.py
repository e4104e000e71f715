"""The local executor: warm workers on this machine, each below a supervisor that can end its whole process tree."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any, Literal

from anyio import create_task_group, fail_after, sleep

from covalent_core._home import find_home
from covalent_core._local import written
from covalent_core._local.lost import how_lost
from covalent_core._local.worker import Worker, is_locked, own_tag, remove
from covalent_core._model.job import DEFAULT_GRACE, Job, Results, Value
from covalent_core._runner.protocol import ENDED, MESSAGE_BYTES, ORDER, OUTPUTS, RESULTS
from covalent_core.backend.processes import ProcessHandle
from covalent_core.errors import ExecutorError
from covalent_core.hookspecs import hookimpl

#: How long after the grace period the processes of a task may take to disappear.
KILL_SECONDS = 10.0

#: How often the lock of a supervisor is looked at that has yet to notice that its dispatcher has died.
LOCK_SECONDS = 0.005

#: How often it is looked whether running tasks have written something.
OUTPUT_SECONDS = 1.0

#: How often it is looked whether the nodes of a pack that were cancelled have ended.
MEMBER_SECONDS = 0.005


@dataclass
class LocalExecutor:
    """Run electrons on this machine.

    Attributes:
        max_workers: How many tasks run at once. Default: the number of processors this process may use.
        workdir: The directory in which tasks run. Default: where this executor was created, that is, the client's.
        create_unique_workdir: Whether each task runs in a folder of its own, ``<dispatch id>/node_<id>`` below
            `workdir`, and a pack in that of its first node. It stays if there is something in it when the job is over.
        environment: Environment variables for the tasks, besides those of the dispatcher.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled. A task that neither asks
            `ct.current_task()` nor handles SIGTERM ends at once.
        python: The interpreter that runs them. Default: the client's.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
    """

    max_workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    workdir: str = field(default_factory=os.getcwd)
    create_unique_workdir: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    grace: float = DEFAULT_GRACE
    python: str = sys.executable
    pack: int | Literal["chain", "auto"] | None = None

    async def __aenter__(self) -> LocalExecutor:
        self._jobs = find_home().jobs
        self._inherited = [lock for lock in self._jobs.glob("*.lock") if not lock.name.startswith(own_tag())]
        self._payloads: dict[str, bytes] = {}
        self._busy: dict[str, Worker] = {}
        self._done: dict[str, Worker] = {}
        self._outcomes: dict[str, dict[str, Value]] = {}
        self._idle: list[Worker] = [Worker(self.python, self._jobs)]
        self._running: dict[str, Job] = {}
        self._fallen: dict[str, Worker] = {}
        self._lost: dict[str, ProcessHandle] = {}
        self._watch = AsyncExitStack()
        tasks = await self._watch.enter_async_context(create_task_group())
        self._watch.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._show_output)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._watch.aclose()

        for worker in [*self._idle, *self._busy.values()]:
            worker.close()

        for file in self._jobs.glob(f"{own_tag()}-*{ENDED}"):
            # Of those that were killed while they were idle.
            file.unlink(missing_ok=True)

    @hookimpl
    async def pickle(self, job: Job) -> bytes:
        job.workdir, job.environment = self._workdir(job), self.environment

        if self.create_unique_workdir:
            os.makedirs(job.workdir, exist_ok=True)

        return pickle.dumps(job.spec)

    @hookimpl
    async def upload(self, job: Job, payload: bytes) -> str:
        # Files with a common prefix, not a folder, and none at all for most jobs: beside a store that is flushed often
        # creating a file costs more than running a small task.
        location = f"{self._jobs}/{job.ticket}"

        if len(payload) <= MESSAGE_BYTES:
            self._payloads[job.ticket] = payload
        else:
            Path(f"{location}.call").write_bytes(payload)

        return location

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        call = self._payloads.pop(job.ticket, b"")

        if not call and not os.path.exists(f"{location}.call"):
            # Uploaded by a dispatcher that has died since.
            call = await self.pickle(job)

        # No answer is needed: a supervisor that has ended cannot be sent anything, and its handle is known.
        return self._offer(job, location, call).handle

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        if job.ticket in self._done:
            return

        self._running[job.ticket] = job

        try:
            if job.ticket in self._busy:
                ended = await self._until_ended(job)
            else:
                await self._until_alone()

                if not (ended := os.path.lexists(f"{location}.ended")):
                    await ProcessHandle.parse(job_handle).wait()
        finally:
            del self._running[job.ticket]

        if not ended and (words := await self._how_lost(job, location, job_handle)):
            raise ExecutorError(words)

    @hookimpl
    async def fetch(self, job: Job) -> Results:
        return self._results(job)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results:
        process = ProcessHandle.parse(job_handle)

        try:
            with fail_after(job.grace + KILL_SECONDS):
                if not await self._end_by_word(job, location):
                    # A full disk keeps nobody from ending it.
                    with suppress(OSError):
                        Path(f"{location}{ORDER}").write_text(json.dumps(_said(job)))

                    process.signal(SIGTERM)
                    await process.wait()
        except TimeoutError:
            raise ExecutorError(
                f"the processes below {process.pid} are alive {KILL_SECONDS:g} s after SIGKILL; "
                f"see: ps --forest -g {process.pid}"
            ) from None

        if not self._is_known_to_have_ended(job, location):
            await self._how_lost(job, location, job_handle)

        return self._results(job)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, node_ids: list[int]) -> Results:
        if job.ticket in self._busy:
            self._busy[job.ticket].send(cancel=job.ticket, nodes=node_ids, **_said(job))
        else:
            await self._until_alone()
            part = Path(f"{location}.cancel.part")
            part.write_text(json.dumps(node_ids))
            part.rename(f"{location}.cancel")

        with fail_after(job.grace + KILL_SECONDS):
            while not all(self._has_ended(job, node_id) for node_id in node_ids):
                await sleep(MEMBER_SECONDS)

        return self._results(job)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | None:
        if job.ticket in self._busy:
            return self._busy[job.ticket].handle

        await self._until_alone()

        with suppress(FileNotFoundError):
            return os.readlink(f"{location}.process")

        return None

    @hookimpl
    async def release(self, job: Job) -> None:
        self._payloads.pop(job.ticket, None)
        self._outcomes.pop(job.ticket, None)
        self._fallen.pop(job.ticket, None)

        if job.ticket in self._done:
            self._done.pop(job.ticket).send(release=job.ticket)

        if job.ticket in self._lost:
            remove(self._jobs / self._lost.pop(job.ticket).tag, [ENDED])

        members = (f".{node_id}{ending}" for node_id in job.node_ids for ending in RESULTS)
        remove(self._jobs / job.ticket, [".call", ".cancel", ORDER, ".process", ".ended", *members])

        if self.create_unique_workdir:
            # That of the dispatch goes with the last of its tasks.
            for folder in (Path(self._workdir(job)), Path(self._workdir(job)).parent):
                with suppress(OSError):
                    folder.rmdir()

    def _workdir(self, job: Job) -> str:
        unique = f"{self.workdir}/{job.dispatch_id}/node_{job.node_ids[0]}"
        return unique if self.create_unique_workdir else self.workdir

    def _offer(self, job: Job, location: str, call: bytes) -> Worker:
        """Give a job to a worker; to another one if that has been ended from outside while it was idle."""
        while self._idle:
            worker = self._idle.pop()

            if worker.send(call, **job.order, grace=job.grace, prefix=location):
                break

            worker.close()
        else:
            worker = Worker(self.python, self._jobs)
            worker.send(call, **job.order, grace=job.grace, prefix=location)

        self._busy[job.ticket] = worker
        return worker

    async def _end_by_word(self, job: Job, location: str) -> bool:
        """Let the supervisor of a job end it if there is a line to it; return whether the job has ended."""
        if job.ticket in self._busy:
            self._busy[job.ticket].send(cancel=job.ticket, **_said(job))
            return await self._until_ended(job)

        if job.ticket not in self._done:
            await self._until_alone()

        return self._is_known_to_have_ended(job, location)

    def _is_known_to_have_ended(self, job: Job, location: str) -> bool:
        return job.ticket in self._done or os.path.lexists(f"{location}.ended")

    async def _how_lost(self, job: Job, location: str, job_handle: str) -> str:
        process, worker = ProcessHandle.parse(job_handle), self._fallen.get(job.ticket)
        self._lost[job.ticket] = process
        return await how_lost(process, worker, self._jobs, location, job.grace + KILL_SECONDS)

    async def _until_ended(self, job: Job) -> bool:
        """Wait for the word of the job's worker and take the worker back; return False if its supervisor is gone."""
        worker, outcomes = self._busy[job.ticket], self._outcomes.setdefault(job.ticket, {})

        while True:
            try:
                answer, record = await worker.receive(job.ticket)
            except EOFError:
                worker.close()
                self._fallen[job.ticket] = worker
                self._busy.pop(job.ticket, None)
                return False

            if "node" in answer and record:
                name = f"{job.ticket}.{answer['node']}.outcome"
                outcomes[name] = record

                if "ended" not in answer:
                    job.report_results({name: record} | self._files(job, [answer["node"]]))

            if "ended" in answer or "refused" in answer:
                self._idle.append(self._busy.pop(job.ticket))
                self._done[job.ticket] = worker

            if "refused" in answer:
                raise ExecutorError(f"the worker refused the job: {answer['refused']}")

            if "ended" in answer:
                return True

    async def _until_alone(self) -> None:
        """Wait until the supervisors of dispatchers before this one have noticed that theirs is gone.

        Before that, one of them may still read an order to start from its line; after it, all that they know is in
        files.
        """
        while self._inherited:
            if is_locked(self._inherited[-1]):
                await sleep(LOCK_SECONDS)
            else:
                remove(self._inherited.pop().with_suffix(""), OUTPUTS)

    async def _show_output(self) -> None:
        """Show what the tasks have written that run for longer than a moment."""
        shown: dict[str, tuple[int, int]] = {}

        while True:
            await sleep(OUTPUT_SECONDS)
            shown = {ticket: shown.get(ticket, (0, 0)) for ticket in self._running}

            for ticket, job in self._running.items():
                process = ProcessHandle.parse(str(job.job_handle))
                sizes = written.sizes(process)

                if sizes != shown[ticket]:
                    shown[ticket] = sizes
                    runs = next((node_id for node_id in job.node_ids if not self._has_ended(job, node_id)), None)

                    with suppress(OSError):
                        if runs is not None:
                            job.report_output(runs, *written.read(process))

    def _has_ended(self, job: Job, node_id: int) -> bool:
        name = f"{job.ticket}.{node_id}.outcome"
        return name in self._outcomes.get(job.ticket, {}) or os.path.exists(self._jobs / name)

    def _results(self, job: Job) -> Mapping[str, Value]:
        """Return the result files of a job: those that came as messages, and what is in files."""
        return self._outcomes.get(job.ticket, {}) | self._files(job, job.node_ids)

    def _files(self, job: Job, node_ids: Iterable[int]) -> dict[str, Value]:
        results = self._outcomes.get(job.ticket, {})
        names = (f"{job.ticket}.{node_id}{ending}" for node_id in node_ids for ending in RESULTS)
        files = {name: self._jobs / name for name in names if name not in results}
        return {name: file for name, file in files.items() if file.exists()}


def _said(job: Job) -> dict[str, Any]:
    """Return what whoever cancels says of the end of a job."""
    return {"reason": job.cancel_reason, "grace": job.cancel_grace}
