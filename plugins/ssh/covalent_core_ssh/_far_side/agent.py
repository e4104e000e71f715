"""The agent itself: it answers requests, and gives news of the jobs that somebody waits for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
import uuid
from contextlib import suppress
from typing import Any, Dict, List, Mapping, Set, Tuple, Type

from covalent_core._runner.processes import children, send
from covalent_core._runner.protocol import LEASE, NOBODY
from covalent_core.backend.job_folder import JobFolder, make_private, read_end
from covalent_core.backend.processes import ProcessHandle
from covalent_core.errors import BackendUnreachableError, ExecutorError

from .ends import KILL_SECONDS, ElsewhereError, check_place, has_said_its_end
from .nursery import Nursery

#: Seconds between looks at what there is to tell of the jobs that run.
NEWS_SECONDS = 1.0

#: Seconds between looks at a job that is beginning, or of which a part is ending.
LOOK_SECONDS = 0.002

Answer = Dict[str, Any]


class Agent:
    """Answer requests about jobs: each method whose name has no underscore in front is one.

    Args:
        nursery: The line to the nursery.
        silence: Seconds without a request after which the line is taken to be dead.
    """

    def __init__(self, nursery: socket.socket, silence: float) -> None:
        self._nursery = nursery
        self._silence = silence
        self._births: Dict[str, asyncio.Future[int]] = {}
        self._leased: Set[str] = set()
        self._followed: Dict[str, Tuple[JobFolder, Mapping[str, int]]] = {}
        self._tasks: Set[asyncio.Task[None]] = set()

    def prepare(self, ticket: str, folder: str) -> Answer:
        """Make the folder of a job, unless an order whose answer was lost has."""
        JobFolder(folder, ticket).make()
        return {}

    async def start(self, ticket: str, folder: str, workdir: str, lease: float) -> Answer:
        """Start a job unless somebody has; return its handle."""
        job = JobFolder(folder, ticket)

        if job.owner() is None:
            os.makedirs(os.path.normpath(os.path.join(folder, workdir)), exist_ok=True)
            self._lease(job, lease)
            await self._fork(job, ticket, ["--lease", str(lease)] if lease else [])

        handle = job.owner()

        if handle == NOBODY:
            raise ExecutorError(
                "the job was barred before it had started: by a cancel, or because nobody could be asked"
            )

        return {"handle": handle}

    async def wait(self, ticket: str, folder: str, handle: str, lease: float) -> Answer:
        """Answer when the job has ended, with the log of its runner if that could not say so; until then give news."""
        job = JobFolder(folder, ticket)
        self._followed[ticket] = job, {}
        self._lease(job, lease)

        try:
            complete = await has_said_its_end(job, ProcessHandle.parse(handle))
        finally:
            self._leased.discard(job.prefix)
            self._followed.pop(ticket, None)

        return {"complete": True} if complete else {"complete": False, "log": _read_log(folder)}

    def read_end(self, ticket: str, folder: str, handle: str, name: str) -> Answer:
        """Return the end of what a task writes, None if it has ended meanwhile."""
        try:
            return {"content": read_end(JobFolder(folder, ticket).prefix + name).decode("latin-1")}
        except FileNotFoundError:
            return {"content": None}

    async def end(self, ticket: str, folder: str, handle: str, grace: float, reason: str = "") -> Answer:
        """Answer when nothing of the job is alive: its runner has said so, or this host was booted since."""
        job, process = JobFolder(folder, ticket), ProcessHandle.parse(handle)

        if not job.has_ended():
            check_place(process)

            # A full disk keeps nobody from ending it.
            with suppress(OSError):
                job.say_how_to_end(reason, grace)

            process.signal(signal.SIGTERM)

            if not await process.is_over_within(grace + KILL_SECONDS):
                # The guard, whose child it is, ends all that it leaves.
                send(children(process.pid), signal.SIGKILL)

        complete = await has_said_its_end(job, process)
        self._leased.discard(job.prefix)
        self._followed.pop(ticket, None)
        return {"complete": complete}

    async def end_members(self, ticket: str, folder: str, handle: str, node_ids: List[int]) -> Answer:
        """Answer when some nodes of a pack have ended, which the runner sees to, or all of them have."""
        job, process = JobFolder(folder, ticket), ProcessHandle.parse(handle)
        job.order_end(node_ids)

        while not job.have_ended(node_ids):
            check_place(process)

            if process.is_alive() is False:
                await has_said_its_end(job, process)
                break

            await asyncio.sleep(LOOK_SECONDS)

        return {}

    def find(self, ticket: str, folder: str, forbid: bool) -> Answer:
        """Return the handle of a job or None, and whether it may still start; first, if told to, bar it."""
        job = JobFolder(folder, ticket)

        if forbid:
            job.bar()

        handle = job.owner()
        return {"handle": None if handle == NOBODY else handle, "starting": handle is None and ticket in self._births}

    async def release(self, ticket: str, folder: str, workdir: str, keep: bool) -> Answer:
        """Let the job start no more, end what has started all the same, and remove its files and empty folders."""
        job = JobFolder(folder, ticket)
        handle = job.bar()

        if handle is not None:
            # What cannot be known does not keep the files of a job that was given up.
            with suppress(BackendUnreachableError):
                await self.end(ticket, folder, handle, 0)

        if not keep:
            await asyncio.get_running_loop().run_in_executor(None, job.remove)

        for place in (workdir, os.path.dirname(workdir)) if workdir else ():
            with suppress(OSError):
                os.rmdir(place)

        return {}

    def beat(self) -> Answer:
        """Let the jobs that have a lease know that they are still wanted."""
        for prefix in self._leased:
            with suppress(FileNotFoundError), open(prefix + LEASE, "a"):
                os.utime(prefix + LEASE)

        return {}

    def _lease(self, job: JobFolder, lease: float) -> None:
        if lease:
            # Where there is no folder there is nothing to begin.
            with suppress(FileExistsError, FileNotFoundError):
                os.mkdir(os.path.dirname(job.prefix), 0o700)

            self._leased.add(job.prefix)
            self.beat()

    # --- the line ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._nursery, self._on_nursery)
        news = asyncio.ensure_future(self._give_news())
        self._tasks.add(news)
        requests = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), os.fdopen(0, "rb", 0))

        while True:
            try:
                line = await asyncio.wait_for(requests.readline(), self._silence)
            except asyncio.TimeoutError:
                return

            if not line:
                return

            task = asyncio.ensure_future(self._answer(json.loads(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _give_news(self) -> None:
        while True:
            await asyncio.sleep(NEWS_SECONDS)

            for ticket, (job, told) in list(self._followed.items()):
                # A file system that does not answer says nothing about the job.
                with suppress(OSError):
                    files = job.files()

                    if files != told:
                        self._followed[ticket] = job, files
                        say({"news": ticket, "files": files})

    async def _answer(self, request: Dict[str, Any]) -> None:
        number, do = request.pop("id"), request.pop("do")

        try:
            answer = getattr(self, do)(**request)
            answer = await answer if asyncio.iscoroutine(answer) else answer
        except ElsewhereError:
            answer = {"elsewhere": os.uname().nodename}
        except (OSError, ExecutorError) as error:
            answer = {"error": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc()}

        say({"id": number, **answer})

    async def _fork(self, job: JobFolder, ticket: str, arguments: List[str]) -> None:
        """Return when a runner has made the job its own."""
        birth = self._births[ticket] = asyncio.get_running_loop().create_future()
        order = {"ticket": ticket, "bundle": job.bundle, "arguments": arguments, "tag": uuid.uuid4().hex}

        try:
            self._nursery.send(json.dumps(order).encode())
            process = ProcessHandle.of(await birth)

            while job.owner() is None:
                # In this order: who has begun and ended in between has left its name.
                if process.is_alive() is False and job.owner() is None:
                    raise ExecutorError(f"the runner ended before it had begun: {_read_log(job.path)}")

                await asyncio.sleep(LOOK_SECONDS)
        except FileNotFoundError:
            raise ExecutorError(f"the runner ended before it had begun: {_read_log(job.path)}") from None
        finally:
            self._births.pop(ticket, None)

    def _on_nursery(self) -> None:
        message = self._nursery.recv(65536)

        if not message:
            # Without it nothing can be started; the next agent has a new one.
            os._exit(1)

        word = json.loads(message)
        birth = self._births[word["ticket"]]

        if "pid" in word:
            birth.set_result(word["pid"])
        else:
            birth.set_exception(ExecutorError(word["error"]))


def _read_log(folder: str) -> str:
    with suppress(OSError), open(os.path.join(folder, "runner.log"), errors="replace") as file:
        return file.read()[-2000:].strip() or "it said nothing"

    return "it left no log"


def _make_workdir(workdir: str) -> str:
    """Make the folder for all jobs, for this user alone, and return where it is."""
    path = os.path.abspath(os.path.join(os.path.expanduser("~"), os.path.expandvars(os.path.expanduser(workdir))))
    make_private(path)

    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", path)

    return path


def say(message: Dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(mark: str, workdir: str, silence: float, kind: Type[Agent] = Agent) -> None:
    """Become the agent and its nursery; return when the line has closed.

    Args:
        mark: What stands before the first word, so that nobody takes the talk of a login script for it.
        kind: What answers.
    """
    sys.stdout.write(f"\n{mark}")

    try:
        path = _make_workdir(workdir)
    except OSError as error:
        say({"error": f"{error.strerror}: {error.filename}"})
        return
    except ExecutorError as error:
        say({"error": str(error)})
        return

    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    if os.fork() == 0:
        here.close()
        Nursery(there).serve()
        os._exit(0)

    there.close()
    say({"workdir": path, "host": os.uname().nodename})
    asyncio.run(kind(here, silence)._serve())
