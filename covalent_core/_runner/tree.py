"""The process tree of a job: everything below the supervisor, which is the subreaper of all of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Optional, Set

from .processes import catches, children, descendants, send


class Tree:
    """The worker and all that it has started, also what has left its session or has lost its parent.

    Attributes:
        exit: How the worker ended, as `os.waitpid` says it, if it has.
        told: The processes that have had SIGTERM.
    """

    def __init__(self, worker: Optional[int] = None) -> None:
        self.exit: Optional[int] = None
        self.told: Set[int] = set()
        self._worker = worker
        self._halted = False

    @property
    def has_worker(self) -> bool:
        """Whether there is a worker that has not ended, as far as has been seen."""
        return self._worker is not None and self.exit is None

    def strays(self) -> bool:
        """Return whether there is any process besides the worker."""
        assert self._worker is not None
        # In this order: what loses its parent in between moves from the first to the second.
        return bool(children(self._worker)) or children(os.getpid()) != [self._worker]

    def halt(self) -> None:
        """Stop the worker where it is; when this returns, it has stopped or ended."""
        if self.has_worker and not self._halted:
            assert self._worker is not None
            send([self._worker], signal.SIGSTOP)
            _, status = os.waitpid(self._worker, os.WUNTRACED)
            self._halted = os.WIFSTOPPED(status)
            self.exit = None if self._halted else status

    def go_on(self) -> None:
        """Let the worker go on if it has been stopped."""
        if self._halted and self._worker is not None:
            self._halted = False
            send([self._worker], signal.SIGCONT)

    def warn(self, signum: int) -> None:
        """Hand on to the worker a signal that its function waits for; it would end any other."""
        if self.has_worker:
            assert self._worker is not None
            send([self._worker] if catches(self._worker, signum) else [], signum)

    def terminate(self) -> None:
        """Send SIGTERM to all that have not had it: called again for those that have been forked since."""
        new = set(descendants(os.getpid())) - self.told
        send(list(new), signal.SIGTERM)
        self.told |= new

    def end(self) -> None:
        """Kill every descendant. Returns when there is none: `waitpid` of a subreaper knows."""
        while True:
            send(descendants(os.getpid()), signal.SIGKILL)

            if not self.reap():
                return

            time.sleep(0.001)

    def reap(self) -> bool:
        """Collect the children that have ended; return whether any are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False

            if pid == 0:
                return True

            if pid == self._worker:
                self.exit = status
