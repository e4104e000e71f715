"""The local executor: warm workers on this machine, each below a supervisor that can end its whole process tree."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from anyio import fail_after, wait_readable

from covalent_core._bundle import runner_file
from covalent_core._detached import DetachedProcess
from covalent_core._home import find_home
from covalent_core._job import DEFAULT_GRACE, Job
from covalent_core._processes import ProcessHandle
from covalent_core._runner import RESULTS, TAG
from covalent_core.errors import ExecutorError
from covalent_core.hookspecs import hookimpl

#: How long after the grace period the processes of a task may take to disappear.
KILL_SECONDS = 10.0


@dataclass
class LocalExecutor:
    """Run electrons on this machine.

    Attributes:
        max_workers: How many tasks run at once. Default: the number of processors this process may use.
        workdir: The directory in which tasks run. Default: where this executor was created, that is, the client's.
        environment: Environment variables for the tasks, besides those of the dispatcher.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled. A task that neither asks
            `ct.current_task()` nor handles SIGTERM ends at once.
        python: The interpreter that runs them. Default: the client's.
    """

    max_workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    workdir: str = field(default_factory=os.getcwd)
    environment: dict[str, str] = field(default_factory=dict)
    grace: float = DEFAULT_GRACE
    python: str = sys.executable

    async def __aenter__(self) -> LocalExecutor:
        self._jobs = find_home().jobs
        self._busy: dict[str, Worker] = {}
        self._idle: list[Worker] = [Worker(self.python)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for worker in [*self._idle, *self._busy.values()]:
            worker.close()

    @hookimpl
    async def pickle(self, job: Job) -> bytes:
        return pickle.dumps({**job.spec, "workdir": self.workdir, "environment": self.environment})

    @hookimpl
    async def upload(self, job: Job, payload: bytes) -> str:
        # Files with a common prefix, not a folder: beside a store that is flushed often a folder is slow to make.
        location = f"{self._jobs}/{job.ticket}"

        with open(f"{location}.call", "wb", buffering=0) as file:
            file.write(payload)

        return location

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        worker, answer = await self._offer(job, location)

        if "started" in answer:
            self._busy[job.ticket] = worker
        else:
            self._idle.append(worker)

        if "handle" not in answer:
            raise ExecutorError(f"the worker refused the job: {answer['error']}")

        return str(answer["handle"])

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        await self._until_ended(job)
        process = ProcessHandle.parse(job_handle)

        if not os.path.lexists(f"{location}.ended"):
            await process.wait()

        if not os.path.lexists(f"{location}.ended"):
            await process.sweep()
            raise ExecutorError(f"process {process.pid}, which supervised the task, was ended from outside")

    @hookimpl
    async def fetch(self) -> str:
        return str(self._jobs)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> str:
        process = ProcessHandle.parse(job_handle)

        try:
            with fail_after(self.grace + KILL_SECONDS):
                if job.ticket in self._busy:
                    self._busy[job.ticket].send(cancel=job.ticket, grace=self.grace)
                    await self._until_ended(job)

                if not os.path.lexists(f"{location}.ended"):
                    process.signal(15)
                    await process.wait()
                    await process.sweep()
        except TimeoutError:
            raise ExecutorError(
                f"the processes below {process.pid} are alive {KILL_SECONDS:g} s after SIGKILL; "
                f"see: ps --forest -g {process.pid}"
            ) from None

        return str(self._jobs)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | None:
        link = f"{location}.process"

        if job.cancel_requested:
            # An order to start may still lie in the socket of a supervisor; this name taken, it cannot begin.
            with suppress(FileExistsError):
                os.symlink("nobody", link)

        try:
            handle = os.readlink(link)
        except FileNotFoundError:
            return None

        return None if handle == "nobody" else handle

    @hookimpl
    async def release(self, job: Job) -> None:
        # The job itself first: a supervisor that comes late to it finds nothing to start.
        for ending in [".call", ".process", ".ended", *(f".{node}{end}" for node in job.node_ids for end in RESULTS)]:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._jobs}/{job.ticket}{ending}")

    async def _offer(self, job: Job, location: str) -> tuple[Worker, dict[str, Any]]:
        """Send a job to a worker; to another one if that has been ended from outside while it was idle."""
        while True:
            fresh = not self._idle
            worker = Worker(self.python) if fresh else self._idle.pop()
            worker.send(**job.order, grace=self.grace, prefix=location)

            try:
                return worker, await worker.receive(job.ticket)
            except EOFError:
                worker.close()

                if fresh:
                    raise

    async def _until_ended(self, job: Job) -> None:
        """Wait for the word of the job's own worker, if it was started by this process, and take the worker back."""
        worker = self._busy.get(job.ticket)

        while worker is not None:
            try:
                answer = await worker.receive(job.ticket)
            except EOFError:
                worker.close()
                del self._busy[job.ticket]
                return

            if "ended" in answer:
                self._idle.append(self._busy.pop(job.ticket))
                return


class Worker:
    """A supervisor with its worker, and the line to it. It ends by itself when the line is closed."""

    def __init__(self, python: str) -> None:
        home = find_home()
        self._line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)

        with far:
            self._process = DetachedProcess(
                [python, str(runner_file(home)), "--serve", str(far.fileno()), str(home.jobs)],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, TAG: uuid.uuid4().hex},
            )

    def send(self, **message: Any) -> None:
        with suppress(OSError):
            # Whether it arrived shows in the answer.
            self._line.send(json.dumps(message).encode())

    async def receive(self, ticket: str) -> dict[str, Any]:
        """Return the next message about a job.

        Those about other jobs are dropped: a cancel that met the end of its task was answered twice.

        Raises:
            EOFError: The supervisor is gone.
        """
        while True:
            try:
                message = self._line.recv(65536)
            except BlockingIOError:
                await wait_readable(self._line)
                continue
            except ConnectionResetError:
                message = b""

            if not message:
                raise EOFError(f"the worker process {self._process.pid} has ended")

            answer: dict[str, Any] = json.loads(message)

            if ticket in answer.values():
                return answer

    def close(self) -> None:
        self._line.close()
        self._process.poll()
