"""The worker: it opens jobs and calls functions, one after the other."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import mmap
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from .protocol import MESSAGE_BYTES
from .records import Outcome, Spool, describe, fit_in_message, open_value, read_outcome, record_of


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


def call_function(spec: Dict[str, Any], task: Dict[str, Any]) -> Any:
    with open_value(spec["values"][task["function"]]) as file:
        function = Inputs(file, spec, task["function_sources"]).load()

    with open_value(spec["values"][task["call"]]) as file:
        args, kwargs = Inputs(file, spec, task["call_sources"]).load()

    value = function(*args, **kwargs)

    if not inspect.iscoroutine(value):
        return value

    # Half of what it takes to start a runner, and most functions need none of it.
    import asyncio

    return asyncio.run(value)


def run_task(spec: Dict[str, Any], task: Dict[str, Any], prefix: str) -> bytes:
    """Call one function and return the record of its outcome; never raises what the function raises.

    Its output is added to the values of the job, for tasks after it.
    """
    import cloudpickle

    from covalent_core._runner import task as current

    started = time.time()
    content = Spool(prefix + ".value")
    current.begin(current.Task(spec["dispatch_id"], task["node_id"], task["attempt"]))

    try:
        os.environ.update(spec["environment"])
        os.chdir(spec["workdir"])
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
        current.end()

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


def open_spec(prefix: str, call: bytes) -> Dict[str, Any]:
    """Open a job: it came with the message, or it is in its file, or in the bundle."""
    if sharing():
        return spec_of_one(prefix, int(call))

    if not serving():
        return whole_spec()

    with open_value(("bytes", call) if call else ("file", prefix + ".call")) as file:
        spec: Dict[str, Any] = pickle.load(file)
        return spec


@functools.lru_cache(maxsize=1)
def whole_spec() -> Dict[str, Any]:
    """Return the job of the bundle."""
    with open_value(("entry", "call")) as file:
        spec: Dict[str, Any] = pickle.load(file)
        return spec


def spec_of_one(prefix: str, node_id: int) -> Dict[str, Any]:
    """Return the job of the bundle with one of its tasks alone, and the outputs that this needs of the others."""
    spec = whole_spec()
    tasks = {task["node_id"]: task for task in spec["tasks"]}

    for need in tasks[node_id]["needs"]:
        if need in tasks and need not in spec["values"]:
            note_output(spec, need, read_outcome(f"{prefix}.{need}"), f"{prefix}.{need}")

    return {**spec, "tasks": [tasks[node_id]]}


def serving() -> bool:
    return sys.argv[1:2] == ["--serve"]


def sharing() -> bool:
    return sys.argv[1:2] == ["--share"]


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
    # Tasks change the directory, this one's predecessors in the pack as well.
    spec["workdir"] = os.path.abspath(spec["workdir"])
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
            answer = (node_id, record_of(("SKIPPED", None), None, Spool(""), begun=False))
        else:
            answer = (node_id, fit_in_message(node, run_task(spec, task, node)))

    assert answer is not None
    return answer
