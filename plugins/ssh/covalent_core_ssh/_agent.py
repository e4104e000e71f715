"""The agent: what runs on the far side for all jobs of one connection, with nothing but Python 3.8.

It comes through the session that starts it and speaks lines of JSON over its standard input and output: a request
``{"id": 1, "do": "start", ...}`` comes in, its answer goes out with the same id as soon as it is known. All truth is in
the files of the jobs and in /proc, so an agent may end at any time, and does when its line closes; the next one knows
as much as the first. The jobs live on.

Beside the agent is the nursery: it has the runner in memory and forks a process for each job, which costs a tenth of
starting an interpreter. It is the parent of the runners and tells the agent of each end.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.machinery
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
import types
import uuid
import zipfile
from contextlib import suppress
from typing import Any, Dict, List, Optional, Set

#: The environment variable that marks a job's runner and all that it starts. The agent itself bears it with 32 zeros.
TAG = "COVALENT_CORE_SUPERVISOR"

#: What stands in the place of a job handle when a job must not start any more.
NOBODY = "nobody"

#: Seconds after the grace period in which the processes of a job must have gone.
KILL_SECONDS = 10.0

#: Seconds between looks at a job that another agent has started, and at one that is beginning or ending.
FAR_LOOK, NEAR_LOOK = 0.1, 0.002

#: Seconds between looks at what the tasks that run have written, and how much of it is shown: its end, in bytes.
NEWS_SECONDS, OUTPUT_BYTES = 1.0, 16 * 1024

Answer = Dict[str, Any]


class RefusalError(Exception):
    """What cannot be done, in words for the user."""


# --- processes ---------------------------------------------------------------------------------------------------


class Process:
    """The runner of a job, as its handle names it: ``<process id>.<start time>.<tag>``."""

    def __init__(self, handle: str) -> None:
        pid, self.started, self.tag = handle.split(".")
        self.pid = int(pid)

    def is_alive(self) -> bool:
        """Whether it lives. Its number may belong to another process by now, also one of another boot."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                state, *fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False

        # One that is just ending has no environment any more.
        is_ours = not environment(self.pid) or has_tag(self.pid, self.tag)
        return state not in (b"Z", b"X") and fields[18].decode() == self.started and is_ours

    def signal(self, signum: int) -> None:
        # The descriptor first: what it means cannot change between the look and the signal.
        descriptor = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None  # type: ignore[attr-defined,unused-ignore]

        try:
            if not self.is_alive() or not has_tag(self.pid, self.tag):
                return

            if descriptor is not None:
                signal.pidfd_send_signal(descriptor, signum)  # type: ignore[attr-defined,unused-ignore]
            else:
                os.kill(self.pid, signum)
        finally:
            if descriptor is not None:
                os.close(descriptor)


def environment(pid: int) -> List[bytes]:
    """Return the environment that a process was started with, empty if it is ending."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read()
    except PermissionError:
        return [b"another user's"]
    except OSError:
        return []

    return content.split(b"\0") if content else []


def has_tag(pid: int, tag: str) -> bool:
    return f"{TAG}={tag}".encode() in environment(pid)


def processes_with(tag: str) -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and has_tag(int(name), tag)]


# --- the nursery -------------------------------------------------------------------------------------------------


class Nursery:
    """Fork a runner for each job, and say of each when it has ended."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._runner: Any = None
        self._first = ""
        self._wakeup, wakeup = os.pipe()

        for end in (self._wakeup, wakeup):
            os.set_blocking(end, False)

        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)

    def serve(self) -> None:
        """Go on until the agent has gone."""
        while True:
            ready = select.select([self._line.fileno(), self._wakeup], [], [])[0]

            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()

            if self._line.fileno() in ready:
                message = self._line.recv(65536)

                if not message:
                    return

                self._start(json.loads(message))

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid = os.waitpid(-1, os.WNOHANG)[0]

                if pid == 0:
                    return

                self._say(ended=pid)

    def _start(self, order: Dict[str, Any]) -> None:
        try:
            if self._runner is None:
                self._runner = self._load(order["bundle"])

            pid = os.fork()
        except Exception as error:
            self._say(ticket=order["ticket"], error=f"{type(error).__name__}: {error}")
            return

        if pid == 0:
            self._become_runner(order)

        self._say(ticket=order["ticket"], pid=pid)

    def _say(self, **message: Any) -> None:
        with suppress(BrokenPipeError):
            self._line.send(json.dumps(message).encode())

    def _load(self, bundle: str) -> Any:
        """Return the code of the runner, with all that it imports in memory, found as the runner itself finds it."""
        sys.path.insert(0, bundle)
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401

        sys.path.append(sys.path.pop(0))
        from covalent_core import _task, errors  # noqa: F401

        with zipfile.ZipFile(bundle) as file:
            code = compile(file.read("__main__.py"), "__main__.py", "exec")

        exec(code, {"__name__": "runner"})
        sys.path.remove(bundle)
        self._first = bundle
        return code

    def _become_runner(self, order: Dict[str, Any]) -> None:
        """Be what ``python bundle.pyz`` would be, in the folder of the job and in a session of its own."""
        try:
            os.setsid()
            os.chdir(os.path.dirname(order["bundle"]))
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            redirect_to("runner.log")
            mark(order["tag"])

            for name in ("cloudpickle", "covalent_core", "covalent_runner"):
                path = sys.modules[name].__path__
                path[:] = [entry.replace(self._first, order["bundle"]) for entry in path]

            main = types.ModuleType("__main__")
            main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
            main.__file__ = "__main__.py"
            sys.modules["__main__"] = main
            sys.argv = [order["bundle"], *order["arguments"]]
            sys.path.insert(0, order["bundle"])
            exec(self._runner, main.__dict__)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)


def redirect_to(log: str) -> None:
    """Let go of all that belongs to the agent and its session."""
    os.closerange(3, 256)

    for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (log, os.O_WRONLY), (log, os.O_WRONLY)]):
        target = os.open(path, flags | (os.O_CREAT | os.O_APPEND if number else 0), 0o600)
        os.dup2(target, number)
        os.close(target)


def mark(tag: str) -> None:
    """Give this process, and all that will come from it, a tag that others see in /proc.

    They see the memory in which the environment was at the start, and `os.environ` does not reach there.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    ctypes.memmove(getenv(TAG.encode()), tag.encode(), len(tag))
    os.environ[TAG] = tag


class Followed:
    """A job that runs, and what has been told of it."""

    def __init__(self, results: str, process: Process, node_ids: List[int]) -> None:
        self._results = results
        self._process = process
        self._node_ids = node_ids
        self._ended: Set[int] = set()
        self._sizes = [0, 0]

    def news(self) -> Answer:
        """Return which nodes have ended, and what the one that runs has written, as far as that is new."""
        files = set(os.listdir(os.path.dirname(self._results)))
        name = os.path.basename(self._results)
        ended = {node_id for node_id in self._node_ids if f"{name}.{node_id}.outcome" in files} - self._ended
        self._ended |= ended
        found: Answer = {"ended": sorted(ended)} if ended else {}
        running = [node_id for node_id in self._node_ids if node_id not in self._ended]
        # Through the runner itself: it has named its files, and may have another task by now.
        outputs = [f"/proc/{self._process.pid}/fd/{number}" for number in (1, 2)]

        if running and self._process.is_alive():
            sizes = [os.stat(output).st_size for output in outputs]

            if sizes != self._sizes:
                self._sizes = sizes
                found["output"] = [running[0], *map(read_end, outputs)]

        return found


def read_end(path: str) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
        return file.read(OUTPUT_BYTES).decode("utf-8", "replace")


# --- the agent ---------------------------------------------------------------------------------------------------


class Agent:
    """Answer requests about jobs: each method whose name has no underscore in front is one.

    Args:
        nursery: The line to the nursery.
        silence: Seconds without a request after which the line is taken to be dead.
    """

    def __init__(self, nursery: socket.socket, silence: float) -> None:
        self._nursery = nursery
        self._silence = silence
        self._births: Dict[str, "asyncio.Future[int]"] = {}
        self._ends: Dict[int, asyncio.Event] = {}
        self._leased: Set[str] = set()
        self._followed: Dict[str, Followed] = {}
        self._tasks: Set["asyncio.Task[None]"] = set()

    def prepare(self, folder: str) -> Answer:
        """Make the folder of a job."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return {}

    async def start(self, ticket: str, folder: str, workdir: str, lease: float) -> Answer:
        """Start a job unless somebody has; return its handle."""
        results = os.path.join(folder, "results", ticket)

        if read_handle(results) is None:
            os.makedirs(os.path.normpath(os.path.join(folder, workdir)), exist_ok=True)

            if lease:
                os.makedirs(os.path.dirname(results), exist_ok=True)
                self._leased.add(results)
                self.beat()

            await self._fork(ticket, folder, results, ["--lease", str(lease)] if lease else [])

        handle = read_handle(results)

        if handle == NOBODY:
            raise RefusalError("the job has been cancelled before it had started")

        return {"handle": handle}

    async def wait(self, ticket: str, folder: str, handle: str, lease: float, node_ids: List[int]) -> Answer:
        """Answer when the job has ended, and whether its runner could say so itself; until then give news of it."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)
        self._followed[ticket] = Followed(results, process, node_ids)

        if lease:
            self._leased.add(results)
            self.beat()

        while not has_ended(results) and process.is_alive():
            if process.pid in self._ends:
                await self._ends[process.pid].wait()
            else:
                await asyncio.sleep(FAR_LOOK)

        self._leased.discard(results)
        self._followed.pop(ticket, None)

        if not has_ended(results):
            await sweep(process.tag, KILL_SECONDS)

        return {"complete": has_ended(results)}

    async def end(self, ticket: str, folder: str, handle: str, grace: float) -> Answer:
        """Answer when nothing of the job is alive: the runner has ended its tree, or else everything was killed."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)
        deadline = time.monotonic() + grace + KILL_SECONDS

        with suppress(ProcessLookupError):
            process.signal(signal.SIGTERM)

        while process.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(NEAR_LOOK)

        if not has_ended(results):
            await sweep(process.tag, KILL_SECONDS)

        self._leased.discard(results)
        self._followed.pop(ticket, None)
        return {"complete": has_ended(results)}

    async def end_members(self, ticket: str, folder: str, handle: str, node_ids: List[int]) -> Answer:
        """Answer when some nodes of a pack have ended, which the runner sees to, or all of them have."""
        results, process = os.path.join(folder, "results", ticket), Process(handle)
        part = f"{results}.{uuid.uuid4().hex}"

        with open(part, "w") as file:
            json.dump(sorted({*node_ids, *read_members(results)}), file)

        os.rename(part, results + ".cancel")

        while process.is_alive() and not all(os.path.exists(f"{results}.{node}.outcome") for node in node_ids):
            await asyncio.sleep(NEAR_LOOK)

        return {}

    def find(self, ticket: str, folder: str, forbid: bool) -> Answer:
        """Return the handle of a job or None; then, if told to, see to it that it never starts."""
        results = os.path.join(folder, "results", ticket)

        if forbid:
            # The order to start may still be under way; this name taken, no runner begins.
            # Where the folder has gone there is nothing to start.
            with suppress(FileExistsError, FileNotFoundError):
                os.mkdir(os.path.dirname(results))

            with suppress(FileExistsError, FileNotFoundError):
                os.symlink(NOBODY, results + ".process")

        handle = read_handle(results)
        return {"handle": None if handle == NOBODY else handle}

    async def remove(self, folder: str, workdir: str) -> Answer:
        """Remove all files of a job, and the folder in which it ran if it left nothing there."""
        gone = folder + ".gone"

        # In one step, so that nothing that comes late finds half of it.
        with suppress(FileNotFoundError):
            os.rename(folder, gone)
            await asyncio.get_running_loop().run_in_executor(None, shutil.rmtree, gone)

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

    async def _answer(self, request: Dict[str, Any]) -> None:
        number, do = request.pop("id"), request.pop("do")

        try:
            answer = getattr(self, do)(**request)
            answer = await answer if asyncio.iscoroutine(answer) else answer
        except (OSError, RefusalError) as error:
            answer = {"error": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc()}

        say({"id": number, **answer})

    async def _fork(self, ticket: str, folder: str, results: str, arguments: List[str]) -> None:
        """Return when a runner has made the job its own."""
        bundle = os.path.join(folder, "bundle.pyz")
        birth = self._births[ticket] = asyncio.get_running_loop().create_future()
        order = {"ticket": ticket, "bundle": bundle, "arguments": arguments, "tag": uuid.uuid4().hex}
        self._nursery.send(json.dumps(order).encode())
        ended = self._ends[await birth]

        while read_handle(results) is None:
            if ended.is_set():
                raise RefusalError(f"the runner ended before it had begun: {read_log(folder)}")

            await asyncio.sleep(NEAR_LOOK)

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
            self._births.pop(word["ticket"]).set_result(word["pid"])
        else:
            self._births.pop(word["ticket"]).set_exception(RefusalError(word["error"]))


async def sweep(tag: str, seconds: float) -> None:
    """Kill all that bears a tag: what is left of a job whose runner was itself killed."""
    deadline = time.monotonic() + seconds

    while True:
        strays = processes_with(tag)

        if not strays:
            return

        if time.monotonic() > deadline:
            raise RefusalError(f"the processes {', '.join(map(str, strays))} are alive {seconds:g} s after SIGKILL")

        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        await asyncio.sleep(NEAR_LOOK)


def has_ended(results: str) -> bool:
    return os.path.lexists(results + ".ended")


def read_handle(results: str) -> Optional[str]:
    try:
        return os.readlink(results + ".process")
    except FileNotFoundError:
        return None


def read_members(results: str) -> List[int]:
    """Return the nodes that are to be ended already."""
    with suppress(FileNotFoundError), open(results + ".cancel") as file:
        found: List[int] = json.load(file)
        return found

    return []


def read_log(folder: str) -> str:
    with suppress(OSError), open(os.path.join(folder, "runner.log"), errors="replace") as file:
        return file.read()[-2000:].strip() or "it said nothing"

    return "it left no log"


def say(message: Dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def make_workdir(workdir: str) -> str:
    """Make the folder for all jobs and return where it is."""
    path = os.path.abspath(os.path.join(os.path.expanduser("~"), os.path.expandvars(os.path.expanduser(workdir))))
    os.makedirs(path, exist_ok=True)

    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", path)

    return path


def main(workdir: str, silence: float) -> None:
    """Become the agent and its nursery; return when the line has closed."""
    try:
        path = make_workdir(workdir)
    except OSError as error:
        say({"agent": "refuses", "error": f"{error.strerror}: {error.filename}"})
        return

    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    if os.fork() == 0:
        here.close()
        Nursery(there).serve()
        os._exit(0)

    there.close()
    say({"agent": "ready", "workdir": path})
    asyncio.run(Agent(here, silence)._serve())
