"""Run a job: the one file that executes on the far side, with nothing but Python 3.8 and the zip it travels in.

Two processes: a supervisor, which is the subreaper of everything below it, and its worker, which opens the job and
calls the functions. The supervisor outlives every end of the worker, so it can end the whole process tree of a job,
double-forked and ``setsid`` children included, and prove it: a subreaper without children has no descendants.

Run as ``python bundle.pyz`` it runs the job of the bundle in the current directory; with ``--lease SECONDS`` it ends
it when nobody has touched ``.lease`` for so long. Run with ``--serve LINE LOCK FOLDER`` it takes jobs from a dispatcher
over the socket LINE, one at a time, and keeps its worker warm between them. Then the files below exist only where
something is too large for a message, and when the dispatcher has died: all that it has not released is then left in
files for the next one, and after that ``FOLDER/<tag>.lock`` is removed, which is locked as LOCK while this lives.

Files of a job; all names begin with its prefix, which is ``results/<ticket>`` for a bundle::

    .process              symbolic link to the job handle, "<pid>.<start time>.<tag>"; who creates it owns the job
    .call                 the job (in a bundle: an entry of the zip)
    .<node>.outcome       how a node ended: a line of JSON, then its pickled value or exception
    .<node>.value         a value that is too large for that
    .ended                as .process: every node has its outcome and nothing is alive
    .lease                touched by who wants the job to go on
    .cancel               nodes of a pack that are to be ended while the others go on, as a JSON list; to be renamed
                          into place. Done when each has its outcome
    .<pid>.stdout         what the node that is running has written so far; .stderr likewise (of a warm worker:
                          <tag>.stdout)
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import json
import mmap
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
import zipfile
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: The environment variable that marks a supervisor and everything it starts, so that what it left can be found if it is
#: itself killed from outside.
TAG = "COVALENT_CORE_SUPERVISOR"

#: The files of a node, by what follows the prefix of its job and its number.
RESULTS = (".outcome", ".outcome.part", ".value")

#: The files of a supervisor, by what follows its tag.
OUTPUTS = (".lock", ".stdout", ".stderr")

#: What is larger than this travels in a file, not in a message.
MESSAGE_BYTES = 96 * 1024

#: Values above this many bytes have a file of their own.
INLINE_BYTES = 32 * 1024

#: How much of what a task wrote to its standard output and error is kept: the end of it.
OUTPUT_BYTES = 64 * 1024

Outcome = Tuple[str, Optional[str]]


# --- processes ---------------------------------------------------------------------------------------------------


def set_process_option(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed; Linux 3.4 or newer is needed")


def start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; with the pid it names a process for ever.

    Raises:
        FileNotFoundError: There is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[19].decode()


def children(pid: int) -> List[int]:
    found: List[int] = []

    try:
        # Two links are those of every folder; most processes have one thread.
        alone = os.stat(f"/proc/{pid}/task").st_nlink == 3
        threads = [str(pid)] if alone else os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found

    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
            found.extend(map(int, file.read().split()))

    return found


def descendants(pid: int) -> List[int]:
    found = children(pid)

    for child in found:
        found.extend(children(child))

    return found


def send(pids: List[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def own_handle() -> str:
    """Return the job handle of this process."""
    tag = os.environ.get(TAG, "")
    return f"{os.getpid()}.{start_time(os.getpid())}" + (f".{tag}" if tag else "")


def claim(prefix: str, handle: str) -> bool:
    """Make this process the one that runs the job at `prefix`; return False if another process is.

    Two runners of one bundle, the first started by a dispatcher that died, settle it here: creating a symbolic link is
    atomic and brings its content along.
    """
    try:
        os.symlink(handle, prefix + ".process")
    except FileExistsError:
        return False

    return True


# --- the worker --------------------------------------------------------------------------------------------------


class Inputs(pickle.Unpickler):
    """Open a pickle in which the outputs of other nodes stand as persistent ids: places in a list of nodes."""

    def __init__(self, file: Any, spec: Dict[str, Any], sources: List[int]) -> None:
        super().__init__(file)
        self._values = spec["values"]
        self._sources = sources

    def persistent_load(self, place: Any) -> Any:
        with open_value(self._values[self._sources[place]]) as file:
            return pickle.load(file)


class Progress:
    """How far the worker is in a job: memory that it shares with its supervisor.

    The worker says which task it begins and then looks whether that is cancelled; the supervisor says what is cancelled
    and then, with the worker stopped, looks which task has begun. So neither can miss the other.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2**16)

    def clear(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def begin(self, place: int) -> bool:
        """Begin the task at a place, unless it is cancelled."""
        self._memory[:4] = struct.pack("I", place)
        return self._memory[8 + place] == 0

    @property
    def place(self) -> int:
        place: int = struct.unpack("I", self._memory[:4])[0]
        return place

    def cancel(self, place: int) -> None:
        self._memory[8 + place] = 1

    def hold(self) -> None:
        """Let the worker begin no further task."""
        self._memory[4] = 1

    @property
    def held(self) -> bool:
        return self._memory[4] == 1


def version_note(pickled_by: str) -> str:
    """Return what to know of a failure where the function came from another Python: its bytecode may not even run."""
    here = "%d.%d" % sys.version_info[:2]
    return (
        "" if here == pickled_by else f"\n(the function was pickled by Python {pickled_by} and this is Python {here})"
    )


@contextlib.contextmanager
def open_value(value: Any) -> Iterator[Any]:
    """Open a value: bytes, the path of a file, or the name of an entry of the bundle."""
    kind, content = value

    if kind == "bytes":
        from io import BytesIO

        yield BytesIO(content)
    elif kind == "file":
        with open(content, "rb") as file:
            yield file
    else:
        with zipfile.ZipFile(sys.argv[0]) as bundle, bundle.open(content) as file:
            yield file


def call_function(spec: Dict[str, Any], task: Dict[str, Any]) -> Any:
    with open_value(spec["values"][task["function"]]) as file:
        function = Inputs(file, spec, task["function_sources"]).load()

    with open_value(spec["values"][task["call"]]) as file:
        args, kwargs = Inputs(file, spec, task["call_sources"]).load()

    value = function(*args, **kwargs)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def run_task(spec: Dict[str, Any], task: Dict[str, Any], prefix: str) -> bytes:
    """Call one function and return the record of its outcome; never raises what the function raises.

    Its output is added to the values of the job, for tasks after it.
    """
    import cloudpickle

    from covalent_core import _task

    started = time.time()
    content = Spool(prefix + ".value")
    _task.begin(_task.Task(spec["dispatch_id"], task["node_id"], spec["attempt"]))

    try:
        os.environ.update(spec["environment"])
        os.chdir(spec["workdir"] or ".")
        value = call_function(spec, task)

        if task["graph"]:
            content.write(value)
        else:
            cloudpickle.dump(value, content)

        outcome: Outcome = ("COMPLETED", None)
    except BaseException as exception:
        outcome = describe(exception, spec)
        content.clear()

        with contextlib.suppress(Exception):
            content.write(cloudpickle.dumps(exception))
    finally:
        _task.end()

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()

    record = record_of(outcome, started, content)
    note_output(spec, task["node_id"], record, prefix)
    return record


def note_output(spec: Dict[str, Any], node_id: int, record: bytes, prefix: str) -> None:
    """Let tasks that come after find the output of one that has completed."""
    header, _, content = record.partition(b"\n")
    outcome = json.loads(header)

    if outcome["status"] == "COMPLETED":
        spec["values"][node_id] = ("file", prefix + ".value") if outcome["file"] else ("bytes", content)


class Spool:
    """What is written to it, in memory while it is little, else in a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Optional[Any] = None
        self._parts: List[Any] = []
        self._size = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size

        if self._file is None and self._size > INLINE_BYTES:
            self._file = open(self._path, "wb")
            self._file.write(self.take())

        if self._file is None:
            self._parts.append(bytes(data))
        else:
            self._file.write(data)

        return size

    def clear(self) -> None:
        self.take()
        self._size = 0

        if self._file is not None:
            self._file.close()
            self._file = None
            os.unlink(self._path)

    def take(self) -> bytes:
        """Return what is in memory, and close the file if there is one."""
        data, self._parts = b"".join(self._parts), []
        return data

    def close(self) -> bool:
        """Return whether there is a file, complete now."""
        if self._file is not None:
            self._file.close()

        return self._file is not None


def describe(error: BaseException, spec: Dict[str, Any]) -> Outcome:
    from covalent_core.errors import TaskCancelledError

    frames = error.__traceback__

    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next

    text = "".join(traceback.format_exception(type(error), error, frames))
    text += version_note(spec["python"])
    return ("CANCELLED", str(error)) if isinstance(error, TaskCancelledError) else ("FAILED", text)


def record_of(outcome: Outcome, started: Optional[float], content: Spool) -> bytes:
    """Return the outcome of a node, with what it wrote to its standard output and error."""
    header = {
        "status": outcome[0],
        "error": outcome[1],
        "started": started,
        "ended": time.time(),
        "stdout": take_output(1),
        "stderr": take_output(2),
        "file": content.close(),
    }
    return json.dumps(header).encode() + b"\n" + content.take()


def write_outcome(prefix: str, record: bytes) -> None:
    """Leave the outcome of a node in its file, whole or not at all."""
    with open(prefix + ".outcome.part", "wb") as file:
        file.write(record)

    os.rename(prefix + ".outcome.part", prefix + ".outcome")


def read_outcome(prefix: str) -> bytes:
    with open(prefix + ".outcome", "rb") as file:
        return file.read()


def redirect_output(prefix: str) -> None:
    """Send what this process and its children write to two files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(f"{prefix}.{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(target, number)
        os.close(target)


def take_output(number: int) -> str:
    """Return the end of what has been written to standard output or error, and empty it for the next task."""
    size = os.fstat(number).st_size

    if size == 0:
        return ""

    data = os.pread(number, OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
    os.ftruncate(number, 0)
    return data.decode("utf-8", "replace")


def open_spec(prefix: str, call: bytes) -> Dict[str, Any]:
    """Open a job: it came with the message, or it is in its file, or in the bundle."""
    value = ("bytes", call) if call else ("file", prefix + ".call") if serving() else ("entry", "call")

    with open_value(value) as file:
        spec: Dict[str, Any] = pickle.load(file)
        return spec


def serving() -> bool:
    return sys.argv[1:2] == ["--serve"]


def work(line: socket.socket, progress: Progress, outcomes: Dict[int, bytes]) -> None:
    """Run the jobs that come in; say after each whether this process is as clean as before.

    Args:
        outcomes: The records of the nodes of the first job that have ended under a worker before this one.
    """
    sys.stdin = open(os.devnull)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    environment, path, home = dict(os.environ), list(sys.path), os.getcwd()

    while message := line.recv(2 * MESSAGE_BYTES):
        prefix, _, call = message.partition(b"\n")
        answer = run_job(line, prefix.decode(), call, progress, outcomes)
        outcomes = {}
        os.chdir(home)
        sys.path[:] = path

        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)

        word = b"clean" if threading.active_count() == 1 else b"dirty"
        line.send(b"%s %d\n%s" % (word, *answer))


def run_job(
    line: socket.socket, prefix: str, call: bytes, progress: Progress, outcomes: Dict[int, bytes]
) -> Tuple[int, bytes]:
    """Run the tasks of a job one after the other; hand over the record of each that has ended, and return the last."""
    spec = open_spec(prefix, call)
    members = {task["node_id"] for task in spec["tasks"]}
    answer: Optional[Tuple[int, bytes]] = None

    for place, task in enumerate(spec["tasks"]):
        node_id = task["node_id"]
        node = f"{prefix}.{node_id}"

        if node_id in outcomes:
            note_output(spec, node_id, outcomes[node_id] or read_outcome(node), node)
            continue

        if answer is not None:
            line.send(b"done %d\n%s" % answer)

        if progress.held:
            # What follows is for the worker after this one, which is about to be ended.
            signal.pause()

        if not progress.begin(place):
            answer = (node_id, b"")
        elif any(need in members and need not in spec["values"] for need in task["needs"]):
            answer = (node_id, record_of(("SKIPPED", None), None, Spool("")))
        else:
            answer = (node_id, fit_in_message(node, run_task(spec, task, node)))

    assert answer is not None
    return answer


def fit_in_message(prefix: str, record: bytes) -> bytes:
    """Return the record of an outcome, or nothing if it is too large for a message and is now in its file."""
    if len(record) <= MESSAGE_BYTES:
        return record

    write_outcome(prefix, record)
    return b""


# --- the supervisor ----------------------------------------------------------------------------------------------


class Supervisor:
    """Keep one worker, give it one job at a time, and end that job's whole process tree when told to.

    Args:
        output: The beginning of the names of the files that hold what the task writes.
        commands: The line to the dispatcher, if there is one.
        lock: The descriptor of a locked file, to be held as long as this process lives.
        lease: How many seconds the job may go on when nobody touches its ``.lease``; 0 for ever.
    """

    def __init__(self, output: str, commands: Optional[socket.socket] = None, lock: int = -1, lease: float = 0) -> None:
        set_process_option(PR_SET_CHILD_SUBREAPER, 1)
        redirect_output(output)
        self._output = output
        self._commands = commands
        self._lock = lock
        self._lease = lease
        self._handle = own_handle()
        self._selector = selectors.DefaultSelector()
        self._worker: Optional[int] = None
        self._line: Optional[socket.socket] = None
        self._exit: Optional[int] = None
        self._used = False
        self._job: Optional[Dict[str, Any]] = None
        self._unreleased: Dict[str, Dict[str, Any]] = {}
        self._progress = Progress()
        self._call = b""
        self._begun = 0.0
        self._stopping: Optional[Tuple[str, str, Optional[int]]] = None
        self._answered = False
        self._deadline = 0.0
        self._told: Set[int] = set()
        self._terminated = False
        self._wakeup, self._wakeup_write = os.pipe()

        for end in (self._wakeup, self._wakeup_write):
            os.set_blocking(end, False)

        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_wakeup)

        if commands is not None:
            self._selector.register(commands, selectors.EVENT_READ, self._on_command)

        self._start_worker()

    def serve(self) -> None:
        """Go on until there is no job and nobody who could send one."""
        while self._job is not None or (self._commands is not None and not self._terminated):
            for key, _ in self._selector.select(self._patience()):
                key.data()

            if self._stopping:
                self._press_on()
            elif self._job is not None and self._exit is not None:
                self._stop("FAILED", died(self._exit), grace=0, only=self._current())
            elif self._job is not None:
                self._look_around(self._job)

        self._end_tree()

        for ending in OUTPUTS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._output + ending)

    def run(self, job: Dict[str, Any], call: bytes = b"") -> None:
        """Take a job, unless it is not there or, where there is no dispatcher to know, another process has it."""
        try:
            if self._commands is None and not claim(job["prefix"], self._handle):
                return

            if self._commands is not None and not call:
                os.stat(job["prefix"] + ".call")
        except OSError as error:
            self._say({"ticket": job["ticket"], "refused": str(error)})
            return

        if self._lease:
            open(job["prefix"] + ".lease", "a").close()

        self._job, self._call = {**job, "outcomes": {}, "cancelled": []}, call
        self._give()

    def _give(self) -> None:
        """Give the job, or what is left of it, to the worker."""
        assert self._job is not None

        if self._job.get("fresh") and self._used:
            self._end_tree()

        if self._worker is None or self._exit is not None:
            self._start_worker()

        assert self._line is not None
        self._used = True
        self._answered, self._begun = False, time.monotonic()
        self._progress.clear()
        self._line.send(self._job["prefix"].encode() + b"\n" + self._call)

    def _start_worker(self) -> None:
        """Fork the worker: this process stays small and has one thread, so the fork costs about a millisecond."""
        self._forget_worker()
        self._line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._exit, self._used = None, False
        self._worker = os.fork()

        if self._worker == 0:
            try:
                self._become_worker(parent)
                work(far, self._progress, self._job["outcomes"] if self._job else {})
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)

        far.close()
        self._line.setblocking(False)
        self._selector.register(self._line, selectors.EVENT_READ, self._on_answer)

    def _become_worker(self, parent: int) -> None:
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)

        if os.getppid() != parent:
            os._exit(1)

        os.setsid()
        signal.set_wakeup_fd(-1)

        for signum in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)

        signal.signal(signal.SIGINT, signal.default_int_handler)

        self._selector.close()

        for end in (self._wakeup, self._wakeup_write, self._lock):
            if end >= 0:
                os.close(end)

        for line in (self._line, self._commands):
            if line is not None:
                line.close()

    def _forget_worker(self) -> None:
        if self._line is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._line)

            self._line.close()

        self._worker, self._line = None, None

    def _on_terminate(self, signum: int, frame: Any) -> None:
        self._terminated = True

    def _on_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)

        self._reap()

        if self._terminated and self._job is not None:
            self._stop("TERMINATED", "stopped by SIGTERM", self._job["grace"])

    def _patience(self) -> Optional[float]:
        """Return how long to wait at most for something to happen, None for ever."""
        if self._stopping:
            return 0.02

        job = self._job or {}
        seconds = [1.0, self._lease / 10] if self._lease else []

        timeout = self._timeout()

        if timeout is not None:
            seconds.append(max(0.0, timeout + self._begun - time.monotonic()))

        if self._commands is None and len(job.get("node_ids", ())) > 1:
            seconds.append(0.2)

        return min(seconds, default=None)

    def _look_around(self, job: Dict[str, Any]) -> None:
        """End what is out of time, and what has been cancelled where there is no line to say so."""
        timeout = self._timeout()

        if self._lease and time.time() - os.stat(job["prefix"] + ".lease").st_mtime > self._lease:
            self._stop("FAILED", f"the dispatcher has not been heard for {self._lease:g} s", self._grace())
        elif timeout is not None and time.monotonic() >= self._begun + timeout:
            self._stop("FAILED", f"timed out after {timeout:g} s", self._grace(), only=self._current())
        elif self._commands is None and len(job["node_ids"]) > 1:
            with contextlib.suppress(FileNotFoundError), open(job["prefix"] + ".cancel", encoding="utf-8") as file:
                self._cancel_members(json.load(file), self._grace())

    def _current(self) -> Optional[int]:
        """Return the node that runs, as far as its worker has said."""
        return next((n for n in self._job["node_ids"] if n not in self._job["outcomes"]), None) if self._job else None

    def _timeout(self) -> Optional[float]:
        timeouts = self._job.get("timeouts") if self._job else None
        return timeouts.get(str(self._current())) if timeouts else None

    def _grace(self) -> float:
        assert self._job is not None
        return float(self._job["grace"])

    def _cancel_members(self, node_ids: List[int], grace: float) -> None:
        """End some nodes of a pack: those that have not begun never will; the one that runs is stopped."""
        job = self._job
        assert job is not None and self._worker is not None
        known = set(job["outcomes"]).union(job["cancelled"])
        new = [node_id for node_id in node_ids if node_id in job["node_ids"] and node_id not in known]

        if not new:
            return

        for node_id in new:
            self._progress.cancel(job["node_ids"].index(node_id))

        self._halt_worker()
        self._take_outcomes()
        running = job["node_ids"][self._progress.place]

        for node_id in set(new) - {running} - set(job["outcomes"]):
            job["cancelled"].append(node_id)
            self._keep(node_id, record_of(("TERMINATED", "stopped by a cancel"), None, Spool("")))

        if running in new and running not in job["outcomes"]:
            job["cancelled"].append(running)
            self._progress.hold()
            self._stop("TERMINATED", "stopped by a cancel", grace, only=running)

        send([self._worker], signal.SIGCONT)

    def _halt_worker(self) -> None:
        if self._exit is None and self._worker is not None:
            send([self._worker], signal.SIGSTOP)
            _, status = os.waitpid(self._worker, os.WUNTRACED)
            self._exit = None if os.WIFSTOPPED(status) else status

    # --- the line to the dispatcher ---

    def _on_command(self) -> None:
        assert self._commands is not None

        try:
            message = self._commands.recv(2 * MESSAGE_BYTES)
        except ConnectionResetError:
            # The dispatcher has died and left something unread.
            message = b""

        if not message:
            self._go_on_alone()
            return

        header, _, call = message.partition(b"\n")
        command = json.loads(header)

        if "prefix" in command:
            self.run(command, call)
        elif "release" in command:
            self._unreleased.pop(command["release"], None)
        elif self._job is not None and self._job["ticket"] == command["cancel"]:
            if "nodes" in command:
                self._cancel_members(command["nodes"], command["grace"])
            else:
                self._stop("TERMINATED", "stopped by a cancel", command["grace"])

    def _go_on_alone(self) -> None:
        """Leave in files all that the dispatcher may not have stored, and let the next one know that it is there."""
        assert self._commands is not None
        self._selector.unregister(self._commands)
        self._commands = None

        for job in self._unreleased.values():
            self._leave(job)
            os.symlink(self._handle, job["prefix"] + ".ended")

        if self._job is not None:
            self._leave(self._job)

        os.unlink(self._output + ".lock")

    def _leave(self, job: Dict[str, Any]) -> None:
        os.symlink(self._handle, job["prefix"] + ".process")

        for node_id, record in job["outcomes"].items():
            if record:
                write_outcome(f"{job['prefix']}.{node_id}", record)

    def _say(self, message: Dict[str, Any], record: bytes = b"") -> None:
        if self._commands is not None:
            # A dispatcher that has died leaves the end of the line, which comes next.
            with contextlib.suppress(OSError):
                self._commands.send(json.dumps(message).encode() + b"\n" + record)

    # --- the end of a job ---

    def _on_answer(self) -> None:
        answer = self._take_outcomes()

        if self._job is not None and self._stopping is not None:
            self._answered = self._answered or bool(answer) or self._stopping[2] in self._job["outcomes"]
            self._press_on()
        elif self._job is not None and answer:
            clean = answer == b"clean" and not self._job.get("fresh")
            self._finish(clean=clean and not self._strays())

    def _take_outcomes(self) -> bytes:
        """Take all that the worker has said; return its word that it has done with the job, if it was there."""
        while self._line is not None:
            try:
                message = self._line.recv(2 * MESSAGE_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:
                message = b""

            if not message:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._line)

                break

            header, _, record = message.partition(b"\n")
            word, node_id = header.split()
            self._begun = time.monotonic()
            self._keep(int(node_id), record, last=word != b"done")

            if word != b"done":
                return word

        return b""

    def _keep(self, node_id: int, record: bytes, *, last: bool = False) -> None:
        """Keep the outcome of a node and hand it on, the last one with the end; an empty record is in its file."""
        job = self._job
        assert job is not None

        if node_id in job["outcomes"]:
            # It was cancelled before it began.
            return

        job["outcomes"][node_id] = record

        if self._commands is not None and not last:
            self._say({"ticket": job["ticket"], "node": node_id}, record)
        elif self._commands is not None:
            job["last"] = node_id
        elif record:
            write_outcome(f"{job['prefix']}.{node_id}", record)

    def _strays(self) -> bool:
        assert self._worker is not None
        return children(os.getpid()) != [self._worker] or bool(children(self._worker))

    def _stop(self, status: str, error: str, grace: float, *, only: Optional[int] = None) -> None:
        """Begin to end the tree of the job: SIGTERM now, SIGKILL when the grace period is over.

        Args:
            only: The node that this is about; the others of its pack go on afterwards in another worker.
        """
        if self._stopping is None:
            self._stopping = (status, error, only)
            self._deadline = time.monotonic() + grace
            self._told.clear()
        elif self._stopping[2] is not None and only is None:
            self._stopping = (status, error, None)
            self._deadline = min(self._deadline, time.monotonic() + grace)

        self._press_on()

    def _press_on(self) -> None:
        if time.monotonic() < self._deadline:
            # Again for those that have been forked since.
            new = set(descendants(os.getpid())) - self._told
            send(list(new), signal.SIGTERM)
            self._told |= new

        self._reap()

        # A task that has come to its end by itself needs no more of its grace period, unless it has left something.
        done = not children(os.getpid()) or (self._answered and not self._strays())

        if done or time.monotonic() >= self._deadline:
            self._finish(clean=False)

    def _finish(self, *, clean: bool) -> None:
        job = self._job
        assert job is not None

        if not clean:
            self._end_tree()
            self._take_outcomes()

        status, error, only = self._stopping or ("FAILED", "the worker left the task without an outcome", None)
        self._stopping = None
        left = [node_id for node_id in job["node_ids"] if node_id not in job["outcomes"]]
        ending = left if only is None else [node_id for node_id in left if node_id == only]

        for node_id in ending:
            note = version_note(job["python"]) if status == "FAILED" else ""
            self._keep(node_id, record_of((status, error + note), None, Spool("")))

        if len(left) > len(ending):
            self._give()
        else:
            self._conclude(job, clean)

    def _conclude(self, job: Dict[str, Any], clean: bool) -> None:
        """Say that every node has its outcome and that nothing is alive."""
        self._job = None

        if self._commands is None:
            os.symlink(self._handle, job["prefix"] + ".ended")
        else:
            self._unreleased[job["ticket"]] = job
            last = job.get("last")
            self._say({"ticket": job["ticket"], "node": last, "ended": True}, job["outcomes"].get(last, b""))

        if not clean and self._commands is not None and not self._terminated:
            self._start_worker()

    def _end_tree(self) -> None:
        """Kill every descendant. Returns when there is none: `waitpid` of a subreaper knows."""
        while True:
            send(descendants(os.getpid()), signal.SIGKILL)

            if not self._reap():
                return

            time.sleep(0.001)

    def _reap(self) -> bool:
        """Collect the children that have ended; return whether any are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False

            if pid == 0:
                return True

            if pid == self._worker:
                self._exit = status


def died(status: int) -> str:
    """Say in words how the worker ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"the process of the task was ended by signal {number} ({signal.Signals(number).name})"

    return f"the process of the task ended with exit code {os.WEXITSTATUS(status)} before the function had returned"


def main(arguments: List[str]) -> None:
    import cloudpickle  # noqa: F401  (before the fork, so that every worker has it)

    # An installed covalent_core goes before the few files of it that travel along.
    sys.path.append(sys.path.pop(0))
    from covalent_core import _task  # noqa: F401

    if serving():
        line, lock = map(int, arguments[1:3])
        Supervisor(os.path.join(arguments[3], os.environ[TAG]), socket.socket(fileno=line), lock).serve()
        return

    with zipfile.ZipFile(sys.argv[0]) as bundle:
        job = json.loads(bundle.read("job.json"))

    os.makedirs("results", exist_ok=True)
    prefix = os.path.abspath(os.path.join("results", job["ticket"]))
    lease = float(arguments[1]) if arguments[:1] == ["--lease"] else 0
    supervisor = Supervisor(f"{prefix}.{os.getpid()}", lease=lease)
    supervisor.run({**job, "prefix": prefix})
    supervisor.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
