"""The worker: it opens jobs and calls functions, one after the other."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from .output import Output
from .progress import Progress
from .protocol import MESSAGE_BYTES
from .records import Outcome, Spool, describe, fit_in_message, open_value, read_outcome, record_of
from .surroundings import Surroundings


class Inputs(pickle.Unpickler):
    """Open a pickle in which the outputs of other nodes stand as persistent ids: places in a list of nodes."""

    def __init__(self, file: Any, spec: Dict[str, Any], sources: List[int]) -> None:
        super().__init__(file)
        self._values = spec["values"]
        self._sources = sources

    def persistent_load(self, place: Any) -> Any:
        with open_value(self._values[self._sources[place]]) as file:
            return pickle.load(file)


def open_call(spec: Dict[str, Any], task: Dict[str, Any]) -> Callable[[], Any]:
    """Open a function and what it is called with."""
    from covalent_core._runner import modules

    with open_value(spec["values"][task["function"]]) as file:
        function = Inputs(file, spec, task["function_sources"]).load()

    with open_value(spec["values"][task["call"]]) as file:
        args, kwargs = Inputs(file, spec, task["call_sources"]).load()

    modules.name_in_modules(getattr(function, "_function", function))
    return functools.partial(function, *args, **kwargs)


def value_of(call: Callable[[], Any]) -> Any:
    process = os.getpid()

    try:
        return result_of(call)
    finally:
        if os.getpid() != process:
            end_child()


def end_child() -> None:
    """End a child that the function has forked and that has come out of it as well: its parent speaks for the task."""
    failed = sys.exc_info()[0] is not None

    if failed:
        traceback.print_exc()

    with contextlib.suppress(Exception):
        sys.stdout.flush()

    os._exit(failed)


def result_of(call: Callable[[], Any]) -> Any:
    from covalent_core._runner.task import run_coroutine

    value = call()
    return run_coroutine(value) if inspect.iscoroutine(value) else value


def run_task(spec: Dict[str, Any], task: Dict[str, Any], prefix: str, output: Output, progress: Progress) -> bytes:
    """Call one function and return the record of its outcome; never raises, whatever the function does.

    Its output is added to the values of the job, for tasks after it.
    """
    from covalent_core._runner import modules
    from covalent_core._runner import task as current

    started = time.time()
    content = Spool(prefix + ".value")
    place = (spec["dispatch_id"], task["node_id"], task["attempt"])
    current.begin(current.Task(*place, lambda: progress.reason), progress.note_folder)
    modules.begin()

    try:
        outcome = attempt(spec, task, content)
    finally:
        modules.end()
        current.end()

    written = output.take()
    output.connect()
    record = record_of(outcome, written, started=started, content=content.take(), has_file=content.has_file)
    note_output(spec, task["node_id"], record, prefix)
    return record


def attempt(spec: Dict[str, Any], task: Dict[str, Any], content: Spool) -> Outcome:
    """Call one function, and return how it ended; its value or its exception goes into `content`."""
    import cloudpickle

    from covalent_core._runner.exceptions import dumps_exception

    opened = False

    try:
        os.environ.update(spec["environment"])
        os.chdir(spec["workdir"])
        call = open_call(spec, task)
        opened = True
        value = value_of(call)

        if task["graph"]:
            content.write(value)
        else:
            cloudpickle.dump(value, content)

        content.close()
        return Outcome("COMPLETED")
    except BaseException as exception:
        content.clear()

        # There may be no room for it.
        try:
            content.write(dumps_exception(exception))
            content.close()
        except BaseException:
            content.clear()

        return describe(exception, spec, opened=opened)


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


def work(line: socket.socket, progress: Progress, output: Output, outcomes: Dict[int, bytes]) -> None:
    """Run the jobs that come in; say after each whether this process is as clean as before.

    Args:
        outcomes: The records of the nodes of the first job that have ended under a worker before this one.
    """
    sys.stdin = open(os.devnull)
    output.connect()
    before = Surroundings()

    while message := line.recv(2 * MESSAGE_BYTES):
        prefix, _, call = message.partition(b"\n")
        answer = run_job(line, prefix.decode(), call, progress, output, outcomes, before)
        outcomes = {}
        word = b"clean" if before.restored() else b"dirty"
        line.send(b"%s %d\n%s" % (word, *answer))


def run_job(
    line: socket.socket,
    prefix: str,
    call: bytes,
    progress: Progress,
    output: Output,
    outcomes: Dict[int, bytes],
    before: Surroundings,
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
            # What cannot be put back is borne by the others of a pack; no other job will have this process.
            before.restore()

        if progress.held:
            # What follows is for the worker after this one, which is about to be ended.
            signal.pause()

        if not progress.begin(place):
            answer = (node_id, b"")
        elif any(need in members and need not in spec["values"] for need in task["needs"]):
            answer = (node_id, record_of(Outcome("SKIPPED")))
        else:
            record = run_task(spec, task, node, output, progress)
            answer = (node_id, fit_in_message(node, record))

    assert answer is not None
    return answer
