"""The signals that a supervisor takes."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any, Set


class Signals:
    """Signals as something that an event loop can wait for, from the making of this on.

    Attributes:
        arrival: The descriptor that can be read when one has come.
        terminated: Whether SIGTERM has come.
    """

    def __init__(self) -> None:
        self.terminated = False
        self.arrival, self._wakeup = os.pipe()

        for end in (self.arrival, self._wakeup):
            os.set_blocking(end, False)

        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        #: What a backend may send before the time of a job is over, and what would have become of it.
        self._warnings = {
            signum: signal.signal(signum, lambda signum, frame: None) for signum in (signal.SIGUSR1, signal.SIGUSR2)
        }

    def warnings(self) -> Set[int]:
        """Take what has come, and return which warnings are among it."""
        with contextlib.suppress(BlockingIOError):
            return {signum for signum in os.read(self.arrival, 4096) if signum in self._warnings}

        return set()

    def undo(self) -> None:
        """Let a process that has been forked take signals as if this had never been."""
        signal.set_wakeup_fd(-1)

        for signum in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)

        for warning, before in self._warnings.items():
            signal.signal(warning, before)

        signal.signal(signal.SIGINT, signal.default_int_handler)

        for end in (self.arrival, self._wakeup):
            os.close(end)

    def _on_terminate(self, signum: int, frame: Any) -> None:
        self.terminated = True
