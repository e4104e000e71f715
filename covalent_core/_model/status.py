"""The statuses of a dispatch and of a node."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Status(str, Enum):
    """Where a dispatch or a node stands. The members are strings: ``Status.RUNNING == "RUNNING"``."""

    #: Stored, nothing has been done for it yet.
    NEW_OBJECT = "NEW_OBJECT"
    #: The steps before running are under way: pickle, upload, provision.
    DISPATCHING = "DISPATCHING"
    #: The backend has given a job handle.
    RUNNING = "RUNNING"
    #: A cancel is on disk; that nothing is alive any more is not yet confirmed.
    CANCELLING = "CANCELLING"
    #: Ended with an output.
    COMPLETED = "COMPLETED"
    #: Ended with an error.
    FAILED = "FAILED"
    #: Ended by a cancel, and nothing of it is alive anywhere.
    CANCELLED = "CANCELLED"

    def __str__(self) -> str:
        return self.value

    @property
    def terminal(self) -> bool:
        """Whether this status never changes again."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


def final_status(nodes: Iterable[Status], *, cancelled: bool) -> Status:
    """Say how a dispatch ends whose nodes have all ended.

    Args:
        nodes: The statuses of all its nodes.
        cancelled: Whether a cancel of the whole dispatch stopped anything.
    """
    found = set(nodes)

    if cancelled:
        return Status.CANCELLED

    for status in (Status.FAILED, Status.CANCELLED):
        if status in found:
            return status

    return Status.COMPLETED
