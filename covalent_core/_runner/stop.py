"""An end that is under way: of a job, or of one node of a pack."""

from __future__ import annotations

import os
import signal
import time
from typing import Optional

from .records import Outcome, attributed, overruled
from .tree import Tree

CANCELLED = Outcome("TERMINATED", "stopped by a cancel", "cancel")
TOLD = Outcome("TERMINATED", "stopped by SIGTERM", "told")
UNGUARDED = Outcome("TERMINATED", "stopped, for the process that guards its supervisor was killed", "told")


class Stop:
    """SIGTERM now, SIGKILL when the grace period is over.

    Args:
        tree: The processes that are to end.
        outcome: How a node that does not end by itself will have ended.
        grace: Seconds.
        only: The node that this is about; the others of its pack go on afterwards in another worker. None for all.

    Attributes:
        answered: Whether what is to end has come to its end by itself.
    """

    def __init__(self, tree: Tree, outcome: Outcome, grace: float, only: Optional[int] = None) -> None:
        self.outcome = outcome
        self.only = only
        self.answered = False
        self._tree = tree
        self._deadline = time.monotonic() + grace
        tree.told.clear()

    def widen(self, outcome: Outcome, grace: float) -> None:
        """End the whole job, where so far only one of its nodes was to end, and no later than that asks for."""
        if self.only is not None:
            self.outcome, self.only = outcome, None

        self.shorten(grace)

    def shorten(self, grace: float) -> None:
        """Give what is to end no more seconds from now on than these."""
        self._deadline = min(self._deadline, time.monotonic() + grace)

    def press(self) -> bool:
        """Tell all that has not been told; return whether there is nothing left to wait for."""
        late = time.monotonic() >= self._deadline

        if not late:
            self._tree.terminate()

        left = self._tree.reap()
        # A task that has come to its end by itself needs no more of its grace period, unless it has left something.
        return late or not left or (self.answered and not self._tree.strays())

    def concerns(self, node_id: int) -> bool:
        return self.only in (None, node_id)

    def amended(self, record: bytes) -> bytes:
        """Return the record of a node that has come to its end after it was told to."""
        if self.outcome.status == "FAILED" and self.only is not None:
            # Nobody has cancelled it: however it took its end, it was too late.
            return overruled(record, self.outcome)

        return attributed(record, self.outcome.ended_by)


def died(status: int, process: str = "the process of the task") -> Outcome:
    """Return how a node has ended of which a process has ended with a status, as `os.waitpid` says it."""
    if not os.WIFSIGNALED(status):
        code = os.WEXITSTATUS(status)
        error = f"{process} ended with exit code {code} before the function had returned"
        return Outcome("FAILED", error, f"exit {code}")

    number = os.WTERMSIG(status)
    names = {known.value: known.name for known in signal.Signals}
    error = f"{process} was ended by signal {number} ({names.get(number, 'a real-time signal')})"
    return Outcome("FAILED", error, f"signal {number}")
