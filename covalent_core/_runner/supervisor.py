"""The supervisor: the subreaper of all that a job starts, which ends its whole process tree and proves it."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from functools import partial
from typing import Any, Dict, List, Optional, Union

from .disk import PAUSE, ROOM_SECONDS
from .job import Job, order_to_end, ordered_ends
from .lease import Lease
from .output import Output
from .processes import PR_SET_CHILD_SUBREAPER, set_process_option
from .protocol import ENDED, OUTPUTS
from .records import Outcome, noted, read_outcome, record_of
from .reports import Files, Line
from .signals import Signals
from .stop import CANCELLED, TOLD, UNGUARDED, Stop, died
from .tree import Tree
from .workers import Workers

#: The longest wait, in seconds: there is a limit to what `epoll` takes.
LONGEST = 3600.0

#: How often it is looked how much a task has written.
OUTPUT_SECONDS = 1.0


class Supervisor:
    """Keep one worker, give it one job at a time, and end that job's whole process tree when told to.

    Args:
        handle: The job handle: the process that others know, which is the guard of this one.
        output: The beginning of the names of the files that hold what the task writes.
        commands: The line to the dispatcher, if there is one.
        lock: The descriptor of a locked file, to be held as long as this process lives.
        lease: How many seconds the job may go on when nobody touches its ``.lease``; 0 for ever.
    """

    def __init__(
        self, handle: str, output: str, commands: Optional[socket.socket] = None, lock: int = -1, lease: float = 0
    ) -> None:
        set_process_option(PR_SET_CHILD_SUBREAPER, 1)
        self._output = output
        self._written = Output(output)
        self._lock = lock
        self._guard = os.getppid()
        self._lease_seconds = lease
        self._lease: Optional[Lease] = None
        self._handle = handle
        self._line = Line(commands, self._handle) if commands is not None else None
        # The files of a dispatcher are beside its store: before there is room, the next one could store nothing either.
        self._files = Files(self._handle, float("inf") if self._line else ROOM_SECONDS)
        self._reports: Union[Line, Files] = self._line or self._files
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()
        self._workers = Workers(self._selector, self._written, self._on_answer, self._give_up)
        self._job: Optional[Job] = None
        self._stopping: Optional[Stop] = None
        self._selector.register(self._signals.arrival, selectors.EVENT_READ, self._on_signal)

        if commands is not None:
            self._selector.register(commands, selectors.EVENT_READ, self._on_command)

        self._workers.start({})

    @property
    def _tree(self) -> Tree:
        return self._workers.tree

    def serve(self) -> None:
        """Go on until there is no job and nobody who could send one."""
        try:
            while self._has_more():
                self._turn()
        finally:
            # Whatever has gone wrong here, nothing that it has started outlives this process.
            self._workers.end()

        if self._line is not None:
            # Nobody reads what a dispatcher may have sent since.
            words = "the process that supervised the task was stopped by SIGTERM, and all that it had started"
            self._files.put(partial(os.symlink, words, self._output + ENDED))

        self._files.settle(self._is_told)

        for ending in OUTPUTS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._output + ending)

        self._files.close(self._is_told)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            key.data()

        self._files.flush()

        if self._stopping:
            self._press_on(self._stopping)
        elif self._job is not None and self._tree.exit is not None:
            self._stop(died(self._tree.exit), grace=0, only=self._job.current)
        elif self._job is not None:
            self._look_around(self._job)

    def _has_more(self) -> bool:
        return self._job is not None or (self._line is not None and not self._signals.terminated)

    def _is_told(self) -> bool:
        return self._signals.terminated

    def run(self, order: Dict[str, Any], call: bytes = b"") -> None:
        """Take a job, unless it is not there or, where there is no dispatcher to know, another process has it.

        Raises:
            OSError: The files of the job cannot be written, and there is no dispatcher to be told.
        """
        try:
            if not self._reports.take(order["prefix"], call):
                return
        except OSError as error:
            self._reports.refuse(order["ticket"], error)
            return

        if self._lease_seconds:
            self._lease = Lease(order["prefix"] + ".lease", self._lease_seconds)

        self._give(Job(order, call))

    def _give(self, job: Job) -> None:
        """Give a job, or what is left of it, to the worker."""
        self._job = job
        self._workers.give(job.prefix, job.call, job.outcomes, fresh=job.fresh)
        job.begin_next()

    def _give_up(self) -> None:
        """In a worker: give up what is not for it."""
        self._signals.undo()

        if self._lock >= 0:
            os.close(self._lock)

        if self._line is not None:
            self._line.line.close()

    def _on_signal(self) -> None:
        warnings = self._signals.warnings()
        self._tree.reap()

        for signum in warnings:
            self._tree.warn(signum)

        if self._signals.terminated and self._job is not None:
            said = order_to_end(self._job.prefix)

            if self._stopping is None:
                self._workers.progress.reason = said.get("reason", "")

            grace = min(self._job.grace, said.get("grace", self._job.grace))
            self._stop(TOLD if os.getppid() == self._guard else UNGUARDED, grace)

    def _patience(self) -> float:
        """Return how long to wait at most for something to happen."""
        if self._stopping:
            return 0.02

        seconds = [LONGEST]
        seconds += [1.0, self._lease.seconds / 10] if self._lease else []
        seconds += [PAUSE] if self._files.is_waiting else []

        if self._job is not None:
            seconds += [OUTPUT_SECONDS, max(0.0, self._job.seconds_left)]
            seconds += [0.2] if self._looks_for_orders(self._job) else []

        return min(seconds)

    def _look_around(self, job: Job) -> None:
        """End what is out of time, and what has been cancelled where there is no line to say so."""
        self._written.trim()

        if self._lease and self._lease.is_over:
            error = f"the dispatcher has not been heard for {self._lease.seconds:g} s"
            self._stop(Outcome("FAILED", error, "lease"), job.grace)
        elif job.seconds_left <= 0:
            outcome = Outcome("FAILED", f"timed out after {job.timeout:g} s", "timeout")
            self._stop_running(job, job.current, outcome, job.grace)
        elif self._looks_for_orders(job):
            self._cancel_members(job, ordered_ends(job.prefix), job.grace)

    def _looks_for_orders(self, job: Job) -> bool:
        """Return whether to look for orders to end some of the nodes: there is no line to say so.

        Who has a lease may be out of reach in any other way; else the only node of a job is ended by a signal.
        """
        return self._line is None and (len(job.node_ids) > 1 or self._lease is not None)

    def _cancel_members(self, job: Job, node_ids: List[int], grace: float) -> None:
        """End some nodes of a pack: those that have not begun never will; the one that runs is stopped."""
        new = [node_id for node_id in job.left if node_id in set(node_ids) - job.cancelled] if node_ids else []

        if self._stopping is not None and self._stopping.only in node_ids:
            # One that is being ended already may have been given less time since.
            self._stopping.shorten(grace)

        if not new:
            return

        job.cancelled.update(new)

        for node_id in new:
            self._workers.progress.cancel(job.node_ids.index(node_id))

        self._tree.halt()
        self._take_outcomes(job)
        running = self._running(job)

        for node_id in set(new) - {running} - set(job.outcomes):
            self._keep(job, node_id, record_of(CANCELLED))

        self._stop_running(job, running if running in new else None, CANCELLED, grace)

    def _stop_running(self, job: Job, node_id: Optional[int], outcome: Outcome, grace: float) -> None:
        """End a node if it is the one that runs; the others of its pack go on in another worker."""
        self._tree.halt()
        self._take_outcomes(job)

        if node_id is not None and node_id == self._running(job) and node_id not in job.outcomes:
            self._workers.progress.hold()
            self._stop(outcome, grace, only=node_id)

        self._tree.go_on()

    def _running(self, job: Job) -> int:
        """Return the node that has begun last; exact while the worker is halted."""
        return job.node_ids[self._workers.progress.place]

    def _on_command(self) -> None:
        assert self._line is not None
        message = self._line.receive()

        if message is None:
            self._go_on_alone(self._line)
            return

        command, call = message

        if "prefix" in command:
            self.run(command, call)
        elif "release" in command:
            self._line.release(command["release"])
        elif self._job is not None and self._job.ticket == command["cancel"]:
            self._workers.progress.reason = command.get("reason", "")

            if "nodes" in command:
                self._cancel_members(self._job, command["nodes"], command["grace"])
            else:
                self._stop(CANCELLED, command["grace"])

    def _go_on_alone(self, line: Line) -> None:
        """Go on without a dispatcher, and let the next one know that all there is to know is in files."""
        self._selector.unregister(line.line)
        line.leave(self._files, self._job)
        self._files.put(partial(os.unlink, self._output + ".lock"))
        self._line, self._reports = None, self._files

    def _on_answer(self) -> None:
        job, stopping = self._job, self._stopping

        if job is None:
            # One that is idle has nothing to say: it has ended.
            list(self._workers.answers())
            return

        answer = self._take_outcomes(job)

        if stopping is not None:
            stopping.answered = stopping.answered or bool(answer) or stopping.only in job.outcomes
            self._press_on(stopping)
        elif answer:
            self._finish(job, clean=answer == b"clean" and not job.fresh and not self._tree.strays())

    def _take_outcomes(self, job: Job) -> bytes:
        """Take all that the worker has said; return its word that it has done with the job, if it was there."""
        for word, node_id, record in self._workers.answers():
            job.begin_next()
            self._keep(job, node_id, record, last=word != b"done")

            if word != b"done":
                return word

        return b""

    def _keep(self, job: Job, node_id: int, record: bytes, *, last: bool = False) -> None:
        """Keep the outcome of a node and hand it on, the last one with the end; an empty record is in its file."""
        if node_id in job.outcomes:
            # It was cancelled before it began.
            return

        if self._stopping is not None and self._stopping.concerns(node_id):
            record = self._stopping.amended(record or read_outcome(job.file(node_id)))

        self._reports.tell(job, node_id, record, last=last)

    def _stop(self, outcome: Outcome, grace: float, *, only: Optional[int] = None) -> None:
        """Begin to end the job, or only one node of it."""
        if self._stopping is None:
            self._stopping = Stop(self._tree, outcome, grace, only)
        elif only is None:
            self._stopping.widen(outcome, grace)

        self._press_on(self._stopping)

    def _press_on(self, stopping: Stop) -> None:
        if stopping.press() and self._job is not None:
            self._finish(self._job, clean=False)

    def _finish(self, job: Job, *, clean: bool) -> None:
        """Give what has no outcome one, and go on with what has not begun."""
        if not clean:
            self._workers.end()
            self._take_outcomes(job)

        stopping, self._stopping = self._stopping, None
        outcome = stopping.outcome if stopping else Outcome("FAILED", "the worker left the task without an outcome")
        ending = [node_id for node_id in job.left if stopping is None or stopping.concerns(node_id)]

        if outcome.status == "FAILED":
            outcome = outcome._replace(error=noted(str(outcome.error), job.python))

        for place, node_id in enumerate(ending):
            # What is there was written by the first: the others have not begun.
            output = self._written.take() if place == 0 else ("", "")
            self._keep(job, node_id, record_of(outcome, output))

        if job.left:
            self._give(job)
        else:
            self._conclude(job, clean)

    def _conclude(self, job: Job, clean: bool) -> None:
        """Say that every node has its outcome and that nothing is alive."""
        self._job = None
        self._reports.tell_end(job)

        if not clean and self._line is not None and not self._signals.terminated:
            self._workers.start({})
