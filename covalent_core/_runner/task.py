"""What a running task can ask about itself. Travels with every job, so it needs nothing but Python 3.8."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Callable, Optional

from covalent_core.errors import TaskCancelledError


class Task:
    """The task that this process is running.

    Attributes:
        dispatch_id: The dispatch it belongs to.
        node_id: Its node in the transport graph.
        attempt: 0 for the first attempt.
    """

    __slots__ = ("_cancel_requested", "attempt", "dispatch_id", "node_id")

    def __init__(self, dispatch_id: str, node_id: int, attempt: int = 0) -> None:
        self.dispatch_id = dispatch_id
        self.node_id = node_id
        self.attempt = attempt
        self._cancel_requested = False

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel has arrived; from then on the task has its grace period to end by itself."""
        return self._cancel_requested

    @property
    def deadline(self) -> Optional[float]:
        """When the backend will end this task, in seconds since 1970; None where it has no limit or does not say."""
        # An executor sets it, or the script in which it starts the runner.
        text = os.environ.get("COVALENT_CORE_DEADLINE")
        return float(text) if text else None

    def __repr__(self) -> str:
        return f"Task(dispatch_id={self.dispatch_id!r}, node_id={self.node_id}, attempt={self.attempt})"


_current: Optional[Task] = None
#: Lets whoever outlives this process know of a folder that the task makes for itself.
_note: Optional[Callable[[str], None]] = None


def current_task() -> Optional[Task]:
    """Return the task that is running in this process, or None outside of a task.

    A task that has asked once, from its main thread, is no longer ended by SIGTERM: it gets its grace period. A task
    that never asks, and has no SIGTERM handler of its own, ends at once when it is cancelled.
    """
    asked = _current is not None and threading.current_thread() is threading.main_thread()

    if asked and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _cancel_arrived)

    return _current


def checkpoint() -> None:
    """Stop here if the task has been cancelled. Outside of a task this does nothing.

    Raises:
        TaskCancelledError: A cancel has arrived. Let it pass after cleaning up.
    """
    task = current_task()

    if task is not None and task.cancel_requested:
        raise TaskCancelledError(dispatch_id=task.dispatch_id, node_id=task.node_id)


def make_folder(name: str) -> str:
    """Make a temporary folder for the current task, and return its path; it goes with the task, however that ends."""
    # Few tasks need one, and every runner imports this module.
    import tempfile
    import uuid

    folder = os.path.join(tempfile.gettempdir(), f"{name}-{uuid.uuid4().hex}")

    if _note is not None:
        # Before it is there: a task may be killed at any moment.
        _note(folder)

    os.mkdir(folder, 0o700)
    return folder


def begin(task: Task, note: Optional[Callable[[str], None]] = None) -> None:
    """Make `task` the current one; called by the runner."""
    global _current, _note
    _note = note
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _current = task


def end() -> None:
    """Leave the current task; called by the runner."""
    global _current
    _current = None
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cancel_arrived(signum: int, frame: Any) -> None:
    if _current is not None:
        _current._cancel_requested = True
