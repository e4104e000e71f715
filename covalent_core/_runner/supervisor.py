"""The supervisor: the subreaper of all that a job starts, which ends its whole process tree and proves it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from typing import Any, Dict, List, Optional, Tuple

from .processes import PR_SET_CHILD_SUBREAPER, claim, own_handle, set_process_option
from .protocol import MESSAGE_BYTES, OUTPUTS
from .records import Spool, overruled, read_outcome, record_of, redirect_output, version_note, write_outcome
from .signals import Signals
from .tree import Tree
from .workers import Workers


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
        self._signals = Signals()
        self._workers = Workers(self._selector, self._on_answer, self._give_up)
        self._job: Optional[Dict[str, Any]] = None
        #: The prefix of a job that ended when there was no dispatcher to be told.
        self._alone: Optional[str] = None
        self._unreleased: Dict[str, Dict[str, Any]] = {}
        self._call = b""
        self._begun = 0.0
        self._stopping: Optional[Tuple[str, str, Optional[int]]] = None
        self._answered = False
        self._deadline = 0.0
        self._selector.register(self._signals.arrival, selectors.EVENT_READ, self._on_signal)

        if commands is not None:
            self._selector.register(commands, selectors.EVENT_READ, self._on_command)

        self._workers.start({})

    @property
    def _tree(self) -> Tree:
        return self._workers.tree

    def serve(self) -> None:
        """Go on until there is no job and nobody who could send one."""
        while self._has_more():
            for key, _ in self._selector.select(self._patience()):
                key.data()

            if self._stopping:
                self._press_on()
            elif self._job is not None and self._tree.exit is not None:
                self._stop("FAILED", died(self._tree.exit), grace=0, only=self._current())
            elif self._job is not None:
                self._look_around(self._job)

        self._tree.end()

        for ending in OUTPUTS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._output + ending)

        if self._alone is not None:
            os.symlink(self._handle, self._alone + ".ended")

    def _has_more(self) -> bool:
        return self._job is not None or (self._commands is not None and not self._signals.terminated)

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
        fresh = bool(self._job.get("fresh"))
        self._workers.give(self._job["prefix"], self._call, self._job["outcomes"], fresh=fresh)
        self._answered, self._begun = False, time.monotonic()

    def _give_up(self) -> None:
        """In a worker: give up what is not for it."""
        self._signals.undo()

        if self._lock >= 0:
            os.close(self._lock)

        if self._commands is not None:
            self._commands.close()

    def _on_signal(self) -> None:
        warnings = self._signals.warnings()
        self._tree.reap()

        for signum in warnings:
            self._tree.warn(signum)

        if self._signals.terminated and self._job is not None:
            self._stop("TERMINATED", "stopped by SIGTERM", self._job["grace"])

    def _patience(self) -> Optional[float]:
        """Return how long to wait at most for something to happen, None for ever."""
        if self._stopping:
            return 0.02

        seconds = [1.0, self._lease / 10] if self._lease else []

        timeout = self._timeout()

        if timeout is not None:
            seconds.append(max(0.0, timeout + self._begun - time.monotonic()))

        if self._job is not None and self._is_pack(self._job):
            seconds.append(0.2)

        return min(seconds, default=None)

    def _look_around(self, job: Dict[str, Any]) -> None:
        """End what is out of time, and what has been cancelled where there is no line to say so."""
        timeout = self._timeout()

        if self._lease and time.time() - os.stat(job["prefix"] + ".lease").st_mtime > self._lease:
            self._stop("FAILED", f"the dispatcher has not been heard for {self._lease:g} s", self._grace())
        elif timeout is not None and time.monotonic() >= self._begun + timeout:
            self._stop_running(self._current(), "FAILED", f"timed out after {timeout:g} s", self._grace())
        elif self._is_pack(job):
            self._cancel_members(ordered_ends(job["prefix"]), self._grace())

    def _is_pack(self, job: Dict[str, Any]) -> bool:
        """Return whether to look for orders to end some of its nodes: there is no line to say so."""
        return self._commands is None and len(job["node_ids"]) > 1

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
        assert job is not None
        known = set(job["outcomes"]).union(job["cancelled"])
        new = [node_id for node_id in node_ids if node_id in job["node_ids"] and node_id not in known]

        if not new:
            return

        for node_id in new:
            self._workers.progress.cancel(job["node_ids"].index(node_id))

        self._tree.halt()
        self._take_outcomes()
        running = self._running()

        for node_id in set(new) - {running} - set(job["outcomes"]):
            job["cancelled"].append(node_id)
            self._keep(node_id, record_of(("TERMINATED", "stopped by a cancel"), None, Spool(""), begun=False))

        job["cancelled"] += [node_id for node_id in new if node_id == running]
        self._stop_running(running if running in new else None, "TERMINATED", "stopped by a cancel", grace)

    def _stop_running(self, node_id: Optional[int], status: str, error: str, grace: float) -> None:
        """End a node if it is the one that runs; the others of its pack go on in another worker."""
        assert self._job is not None
        self._tree.halt()
        self._take_outcomes()

        if node_id is not None and node_id == self._running() and node_id not in self._job["outcomes"]:
            self._workers.progress.hold()
            self._stop(status, error, grace, only=node_id)

        self._tree.go_on()

    def _running(self) -> int:
        """Return the node that has begun last; exact while the worker is halted."""
        assert self._job is not None
        node_id: int = self._job["node_ids"][self._workers.progress.place]
        return node_id

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
            self._finish(clean=clean and not self._tree.strays())

    def _take_outcomes(self) -> bytes:
        """Take all that the worker has said; return its word that it has done with the job, if it was there."""
        for word, node_id, record in self._workers.answers():
            self._begun = time.monotonic()
            self._keep(node_id, record, last=word != b"done")

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

        if self._stopping is not None and self._stopping[0] == "FAILED" and self._stopping[2] == node_id:
            # Nobody has cancelled it: however it took its end, it was too late.
            record = overruled(record or read_outcome(f"{job['prefix']}.{node_id}"), *self._stopping[:2])

        job["outcomes"][node_id] = record

        if self._commands is not None and not last:
            self._say({"ticket": job["ticket"], "node": node_id}, record)
        elif self._commands is not None:
            job["last"] = node_id
        elif record:
            write_outcome(f"{job['prefix']}.{node_id}", record)

    def _stop(self, status: str, error: str, grace: float, *, only: Optional[int] = None) -> None:
        """Begin to end the tree of the job: SIGTERM now, SIGKILL when the grace period is over.

        Args:
            only: The node that this is about; the others of its pack go on afterwards in another worker.
        """
        if self._stopping is None:
            self._stopping = (status, error, only)
            self._deadline = time.monotonic() + grace
            self._tree.told.clear()
        elif self._stopping[2] is not None and only is None:
            self._stopping = (status, error, None)
            self._deadline = min(self._deadline, time.monotonic() + grace)

        self._press_on()

    def _press_on(self) -> None:
        if time.monotonic() < self._deadline:
            self._tree.terminate()

        left = self._tree.reap()

        # A task that has come to its end by itself needs no more of its grace period, unless it has left something.
        done = not left or (self._answered and not self._tree.strays())

        if done or time.monotonic() >= self._deadline:
            self._finish(clean=False)

    def _finish(self, *, clean: bool) -> None:
        job = self._job
        assert job is not None

        if not clean:
            self._tree.end()
            self._take_outcomes()

        status, error, only = self._stopping or ("FAILED", "the worker left the task without an outcome", None)
        self._stopping = None
        left = [node_id for node_id in job["node_ids"] if node_id not in job["outcomes"]]
        ending = left if only is None else [node_id for node_id in left if node_id == only]

        for place, node_id in enumerate(ending):
            note = version_note(job["python"]) if status == "FAILED" else ""
            self._keep(node_id, record_of((status, error + note), None, Spool(""), begun=place == 0))

        if len(left) > len(ending):
            self._give()
        else:
            self._conclude(job, clean)

    def _conclude(self, job: Dict[str, Any], clean: bool) -> None:
        """Say that every node has its outcome and that nothing is alive."""
        self._job = None

        if self._commands is None:
            self._alone = job["prefix"]
        else:
            self._unreleased[job["ticket"]] = job
            last = job.get("last")
            self._say({"ticket": job["ticket"], "node": last, "ended": True}, job["outcomes"].get(last, b""))

        if not clean and self._commands is not None and not self._signals.terminated:
            self._workers.start({})


def ordered_ends(prefix: str) -> List[int]:
    """Return the nodes of a pack that are to be ended while the others go on."""
    # Who opens a folder of a network file system sees what others have written there since.
    os.close(os.open(os.path.dirname(prefix), os.O_RDONLY))

    with contextlib.suppress(FileNotFoundError), open(prefix + ".cancel", encoding="utf-8") as file:
        node_ids: List[int] = json.load(file)
        return node_ids

    return []


def died(status: int) -> str:
    """Say in words how the worker ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"the process of the task was ended by signal {number} ({signal.Signals(number).name})"

    return f"the process of the task ended with exit code {os.WEXITSTATUS(status)} before the function had returned"
