"""The agent itself: it answers requests, and gives news of the jobs that somebody waits for."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import traceback
import uuid
from contextlib import suppress
from typing import Any

from .files import (
    NOBODY,
    Answer,
    Followed,
    bar,
    has_ended,
    make_folder,
    make_workdir,
    read_handle,
    read_log,
    read_members,
)
from .nursery import Nursery
from .processes import FAR_LOOK, KILL_SECONDS, NEAR_LOOK, ElsewhereError, Process, RefusalError, sweep

#: Seconds between looks at what there is to tell of the jobs that run.
NEWS_SECONDS = 1.0


class Agent:
    """Answer requests about jobs: each method whose name has no underscore in front is one.

    Args:
        nursery: The line to the nursery.
        silence: Seconds without a request after which the line is taken to be dead.
    """

    def __init__(self, nursery: socket.socket, silence: float) -> None:
        self._nursery = nursery
        self._silence = silence
        self._births: dict[str, asyncio.Future[int]] = {}
        self._ends: dict[int, asyncio.Event] = {}
        self._leased: set[str] = set()
        self._followed: dict[str, Followed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def prepare(self, folder: str) -> Answer:
        """Make the folder of a job."""
        make_folder(folder)
        return {}

    async def start(self, ticket: str, folder: str, workdir: str, lease: float) -> Answer:
        """Start a job unless somebody has; return its handle."""
        results = os.path.join(folder, "results", ticket)

        if read_handle(results) is None:
            os.makedirs(os.path.normpath(os.path.join(folder, workdir)), exist_ok=True)

            if lease:
                # Not what is above it: a job that was released has no folder, and must get none.
                with suppress(FileExistsError):
                    os.mkdir(os.path.dirname(results), 0o700)

                self._leased.add(results)
                self.beat()

            await self._fork(ticket, folder, results, ["--lease", str(lease)] if lease else [])

        handle = read_handle(results)

        if handle == NOBODY:
            raise RefusalError(
                "the job was barred before it had started: by a cancel, or because nobody could be asked"
            )

        return {"handle": handle}

    async def wait(self, ticket: str, folder: str, handle: str, lease: float, node_ids: list[int]) -> Answer:
        """Answer when the job has ended, with the log of its runner if that could not say so; until then give news."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)
        self._followed[ticket] = Followed(results, process, node_ids)

        if lease:
            self._leased.add(results)
            self.beat()

        try:
            while not has_ended(results) and process.is_alive():
                if process.pid in self._ends:
                    await self._ends[process.pid].wait()
                else:
                    await asyncio.sleep(FAR_LOOK)
        finally:
            self._leased.discard(results)
            self._followed.pop(ticket, None)

        if has_ended(results):
            return {"complete": True}

        await sweep(process.tag, KILL_SECONDS)
        return {"complete": has_ended(results), "log": read_log(folder)}

    async def end(self, ticket: str, folder: str, handle: str, grace: float) -> Answer:
        """Answer when nothing of the job is alive: the runner has ended its tree, or else everything was killed."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)

        try:
            process.signal(signal.SIGTERM)
            gone = await process.is_gone_within(grace + KILL_SECONDS)
        except ElsewhereError:
            # Its own word holds wherever it is read.
            if not (gone := has_ended(results)):
                raise

        if not (gone and has_ended(results)):
            await sweep(process.tag, KILL_SECONDS)

            if not await process.is_gone_within(KILL_SECONDS):
                raise RefusalError(f"process {process.pid} has left what does not end; see: ps --ppid {process.pid}")

        self._leased.discard(results)
        self._followed.pop(ticket, None)
        return {"complete": has_ended(results)}

    async def end_members(self, ticket: str, folder: str, handle: str, node_ids: list[int]) -> Answer:
        """Answer when some nodes of a pack have ended, which the runner sees to, or all of them have."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)
        part = f"{results}.{uuid.uuid4().hex}"

        with open(part, "w") as file:
            json.dump(sorted({*node_ids, *read_members(results)}), file)

        os.rename(part, results + ".cancel")

        while not all(os.path.exists(f"{results}.{node}.outcome") for node in node_ids):
            if not process.is_alive():
                return await self.end(ticket, folder, handle, 0)

            await asyncio.sleep(NEAR_LOOK)

        return {}

    def find(self, ticket: str, folder: str, forbid: bool) -> Answer:
        """Return the handle of a job or None, and whether it may still start; first, if told to, bar it."""
        results = os.path.join(folder, "results", ticket)

        if forbid:
            bar(results)

        handle = read_handle(results)
        return {"handle": None if handle == NOBODY else handle, "starting": handle is None and ticket in self._births}

    async def release(self, ticket: str, folder: str, workdir: str, keep: bool) -> Answer:
        """Let the job start no more, end what has started all the same, and remove its files and empty folders."""
        handle = self.find(ticket, folder, True)["handle"]

        if handle is not None and not has_ended(os.path.join(folder, "results", ticket)):
            await self.end(ticket, folder, handle, 0)

        if not keep:
            # In one step, so that nothing that comes late finds half of it.
            with suppress(FileNotFoundError):
                os.rename(folder, folder + ".gone")

            with suppress(FileNotFoundError):
                await asyncio.get_running_loop().run_in_executor(None, shutil.rmtree, folder + ".gone")

        for place in (workdir, os.path.dirname(workdir)) if workdir else ():
            with suppress(OSError):
                os.rmdir(place)

        return {}

    def beat(self) -> Answer:
        """Let the jobs that have a lease know that they are still wanted."""
        for results in self._leased:
            with suppress(FileNotFoundError), open(results + ".lease", "a"):
                os.utime(results + ".lease")

        return {}

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

            for ticket, job in list(self._followed.items()):
                # What is just ending is told by the answer to whoever waits for it.
                with suppress(OSError):
                    news = job.news()

                    if news:
                        say({"news": ticket, **news})

    async def _answer(self, request: dict[str, Any]) -> None:
        number, do = request.pop("id"), request.pop("do")

        try:
            answer = getattr(self, do)(**request)
            answer = await answer if asyncio.iscoroutine(answer) else answer
        except ElsewhereError:
            answer = {"elsewhere": os.uname().nodename}
        except (OSError, RefusalError) as error:
            answer = {"error": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc()}

        say({"id": number, **answer})

    async def _fork(self, ticket: str, folder: str, results: str, arguments: list[str]) -> None:
        """Return when a runner has made the job its own."""
        bundle = os.path.join(folder, "bundle.pyz")
        birth = self._births[ticket] = asyncio.get_running_loop().create_future()
        order = {"ticket": ticket, "bundle": bundle, "arguments": arguments, "tag": uuid.uuid4().hex}

        try:
            self._nursery.send(json.dumps(order).encode())
            ended = self._ends[await birth]

            while read_handle(results) is None:
                if ended.is_set():
                    raise RefusalError(f"the runner ended before it had begun: {read_log(folder)}")

                await asyncio.sleep(NEAR_LOOK)
        finally:
            self._births.pop(ticket, None)

    def _on_nursery(self) -> None:
        message = self._nursery.recv(65536)

        if not message:
            # Without it nothing can be started or watched; the next agent has a new one.
            os._exit(1)

        word = json.loads(message)

        if "ended" in word:
            self._ends.pop(word["ended"]).set()
        elif "pid" in word:
            self._ends[word["pid"]] = asyncio.Event()
            self._births[word["ticket"]].set_result(word["pid"])
        else:
            self._births[word["ticket"]].set_exception(RefusalError(word["error"]))


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(mark: str, workdir: str, silence: float) -> None:
    """Become the agent and its nursery; return when the line has closed.

    Args:
        mark: What stands before the first word, so that nobody takes the talk of a login script for it.
    """
    sys.stdout.write(f"\n{mark}")

    try:
        path = make_workdir(workdir)
    except OSError as error:
        say({"error": f"{error.strerror}: {error.filename}"})
        return
    except RefusalError as error:
        say({"error": str(error)})
        return

    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    if os.fork() == 0:
        here.close()
        Nursery(there).serve()
        os._exit(0)

    there.close()
    say({"workdir": path, "host": os.uname().nodename})
    asyncio.run(Agent(here, silence)._serve())
