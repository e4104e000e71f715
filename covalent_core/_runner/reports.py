"""To whom a supervisor says how nodes have ended: a dispatcher, over its line, or whoever reads the job's files."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, NamedTuple, Optional, Tuple

from .disk import GONE, PAUSE, loss, make_reserve, use_reserve
from .job import Job
from .processes import claim
from .protocol import MESSAGE_BYTES
from .records import Outcome, fit_in_message, record_of, write_outcome


class Line:
    """The line to a dispatcher. What it has been told is kept until it says that it has stored it.

    Args:
        handle: The job handle of the supervisor.
    """

    def __init__(self, line: socket.socket, handle: str) -> None:
        self.line = line
        self._handle = handle
        self._unreleased: Dict[str, Job] = {}

    def take(self, prefix: str, call: bytes) -> bool:
        """Return True: a job that comes over the line is nobody else's.

        Raises:
            OSError: The job is not there.
        """
        if not call:
            os.stat(prefix + ".call")

        return True

    def refuse(self, ticket: str, error: OSError) -> None:
        self._say({"ticket": ticket, "refused": str(error)})

    def tell(self, job: Job, node_id: int, record: bytes, *, last: bool) -> None:
        """Say how a node ended, of the last one together with the end; an empty record is in its file."""
        record = job.outcomes[node_id] = fit_in_message(job.file(node_id), record)

        if last:
            job.last = node_id
        else:
            self._say({"ticket": job.ticket, "node": node_id}, record)

    def tell_end(self, job: Job) -> None:
        self._unreleased[job.ticket] = job
        record = job.outcomes[job.last] if job.last is not None else b""
        self._say({"ticket": job.ticket, "node": job.last, "ended": True}, record)

    def receive(self) -> Optional[Tuple[Dict[str, Any], bytes]]:
        """Return the next command, with what a job is called with; None if the dispatcher has died."""
        try:
            message = self.line.recv(2 * MESSAGE_BYTES)
        except ConnectionResetError:
            # It has left something unread.
            message = b""

        header, _, call = message.partition(b"\n")
        return (json.loads(header), call) if message else None

    def release(self, ticket: str) -> None:
        self._unreleased.pop(ticket, None)

    def leave(self, files: Files, job: Optional[Job]) -> None:
        """Leave in files all that the dispatcher may not have stored, and what there is of the job that runs."""
        for ended in self._unreleased.values():
            files.leave(ended)
            files.put(partial(mark_end, ended.prefix, self._handle))

        if job is not None:
            files.leave(job)

    def _say(self, message: Dict[str, Any], record: bytes = b"") -> None:
        # A dispatcher that has died leaves the end of the line, which comes next.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.line.send(json.dumps(message).encode() + b"\n" + record)


class Waiting(NamedTuple):
    """Something to be written, and the prefix of the node if it is an outcome."""

    write: Callable[[], None]
    node: str = ""


class Files:
    """The files of a job. What cannot be written now, for the disk may be full, waits and is tried again.

    Args:
        handle: The job handle of the supervisor.
        patience: For how many seconds it is tried.
    """

    def __init__(self, handle: str, patience: float) -> None:
        self._handle = handle
        self._patience = patience
        self._waiting: Deque[Waiting] = deque()
        self._since = 0.0
        self._error: Optional[OSError] = None
        self._reserve = ""
        self._ended = ""

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def take(self, prefix: str, call: bytes) -> bool:
        """Make this process the one that runs the job; return False if another process is."""
        if not claim(prefix, self._handle):
            return False

        self.reserve(prefix)
        return True

    def reserve(self, prefix: str) -> None:
        """Take the room for an outcome beforehand."""
        self._reserve = prefix + ".reserve"

        # Where there is none now, there may be some when it is needed.
        with contextlib.suppress(OSError):
            make_reserve(self._reserve)

    def refuse(self, ticket: str, error: OSError) -> None:
        raise error

    def tell(self, job: Job, node_id: int, record: bytes, *, last: bool) -> None:
        """Leave the outcome of a node; an empty record is in its file."""
        job.outcomes[node_id] = record
        node = job.file(node_id)

        if record:
            self.put(partial(write_outcome, node, record), node)

    def tell_end(self, job: Job) -> None:
        """Remember that every node has its outcome: `close` says so, when this process is as good as gone."""
        self._ended = job.prefix

    def leave(self, job: Job) -> None:
        """Leave all that there is of a job whose dispatcher has died."""
        self.put(partial(os.symlink, self._handle, job.prefix + ".process"))

        for node_id, record in job.outcomes.items():
            self.tell(job, node_id, record, last=False)

    def put(self, write: Callable[[], None], node: str = "") -> None:
        """Write something after all that waits."""
        self._waiting.append(Waiting(write, node))

        if len(self._waiting) == 1:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in the order in which it came, as far as that can be.

        Raises:
            OSError: The folder is gone.
        """
        while self._waiting:
            try:
                self._waiting[0].write()
            except OSError as error:
                if error.errno in GONE:
                    raise

                self._since = self._since if self._error else time.monotonic()
                self._error = error
                return

            self._waiting.popleft()
            self._error = None

    def settle(self, is_hurried: Callable[[], bool]) -> None:
        """Return when nothing waits any more.

        Args:
            is_hurried: Whether this process has been told to end: then what has no room is given up at once.

        Raises:
            OSError: Not even that an outcome is lost could be written.
        """
        while self._waiting:
            overdue = is_hurried() or time.monotonic() - self._since > self._patience

            if overdue and self._patience < float("inf"):
                self._give_up(self._waiting.popleft())
            else:
                time.sleep(PAUSE)

            self.flush()

    def close(self, is_hurried: Callable[[], bool]) -> None:
        """Say that the job has ended, if it has: the last thing that this process does."""
        if self._reserve:
            with contextlib.suppress(OSError):
                os.unlink(self._reserve)

        if self._ended:
            self.put(partial(mark_end, self._ended, self._handle))
            self.settle(is_hurried)

    def _give_up(self, waiting: Waiting) -> None:
        assert self._error is not None

        if not waiting.node:
            raise self._error

        record = record_of(Outcome("FAILED", loss(self._error, waiting.node)))
        use_reserve(self._reserve, record, waiting.node + ".outcome")

        with contextlib.suppress(OSError):
            os.unlink(waiting.node + ".outcome.part")


def mark_end(prefix: str, handle: str) -> None:
    """Say that every node of a job has its outcome and that nothing is alive."""
    try:
        os.symlink(handle, prefix + ".ended")
    except OSError:
        # One more name needs no room of its own, and this file says the same.
        os.link(prefix + ".process", prefix + ".ended", follow_symlinks=False)
