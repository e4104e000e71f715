"""What a running task can ask about itself. Travels with every job, so it needs nothing but Python 3.8."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from typing import Any, Callable, Coroutine, Iterator, List, Optional

from covalent_core.errors import TaskCancelledError


class _Section:
    """A critical section.

    Attributes:
        end: Until when it may go on, by the monotonic clock.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = float("inf")


class Task:
    """The task that this process is running.

    Attributes:
        dispatch_id: The dispatch it belongs to.
        node_id: Its node in the transport graph.
        attempt: 0 for the first attempt.
    """

    __slots__ = ("_callbacks", "_cancel_requested", "_read_reason", "_sections", "attempt", "dispatch_id", "node_id")

    def __init__(
        self, dispatch_id: str, node_id: int, attempt: int = 0, read_reason: Callable[[], str] = lambda: ""
    ) -> None:
        self.dispatch_id = dispatch_id
        self.node_id = node_id
        self.attempt = attempt
        self._read_reason = read_reason
        self._cancel_requested = False
        self._callbacks: List[Callable[[], Any]] = []
        self._sections: List[_Section] = []

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel has arrived; from then on the task has its grace period to end by itself."""
        return self._cancel_requested

    @property
    def reason(self) -> Optional[str]:
        """Why it is cancelled, in the words of whoever cancels; None before that, and where nobody has said."""
        return (self._read_reason() or None) if self._cancel_requested else None

    def on_cancel(self, callback: Callable[[], Any]) -> None:
        """Call a function as soon as a cancel arrives, in the main thread, between two instructions of the task.

        Use it to end what the task waits for. What the function raises is written to standard error. As after
        `current_task`, the task has its grace period.

        Raises:
            RuntimeError: This is not the main thread of the process that runs the task.
        """
        if current_task() is not self or threading.current_thread() is not threading.main_thread():
            raise RuntimeError("on_cancel is for the main thread of the process that runs the task")

        self._callbacks.append(callback)

        if self._cancel_requested:
            _call(callback)

    def _raise_if_cancelled(self) -> None:
        if self._cancel_requested and all(time.monotonic() >= section.end for section in self._sections):
            reason = [self.reason] if self.reason else []
            raise TaskCancelledError(*reason, dispatch_id=self.dispatch_id, node_id=self.node_id)

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

    if task is not None:
        task._raise_if_cancelled()


@contextlib.contextmanager
def shield(seconds: float) -> Iterator[None]:
    """Finish a critical section though a cancel arrives: it is raised where the section ends.

    Within, `checkpoint` does nothing and SIGTERM does not end the task. From the cancel on the section has so many
    seconds; then the cancel is raised in it. The grace period goes on all the same: what has not ended when that is
    over is killed. For the main thread of a task; outside of one this does nothing.

    Args:
        seconds: How long the section may go on once a cancel has arrived.

    Raises:
        TaskCancelledError: A cancel has arrived, before the section or within.
    """
    ended_at_once = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    task = current_task()

    if task is None:
        yield
        return

    task._raise_if_cancelled()
    section = _Section(seconds)
    task._sections.append(section)

    try:
        yield
    finally:
        task._sections.remove(section)

        if ended_at_once and not task._sections and not task._cancel_requested:
            # A task that never asks is ended at once again; what may have come since is raised below.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    task._raise_if_cancelled()


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine gives; a cancel is raised where it waits next. Called by the runner."""
    # Half of what it takes to start a runner, and most functions need none of it.
    import asyncio

    async def until_cancelled() -> Any:
        task, loop, inner = current_task(), asyncio.get_running_loop(), asyncio.ensure_future(coroutine)

        def cancel() -> None:
            # At the end of a critical section it is raised there.
            if task is not None and not task._sections:
                loop.call_soon_threadsafe(inner.cancel)

        if task is not None:
            task.on_cancel(cancel)

        return await inner

    try:
        return asyncio.run(until_cancelled())
    except asyncio.CancelledError:
        checkpoint()
        raise


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
    task = _current

    if task is None:
        return

    if task._cancel_requested:
        if task._sections:
            # The time of a critical section is over.
            task._raise_if_cancelled()

        return

    task._cancel_requested = True

    for section in task._sections:
        section.end = time.monotonic() + section.seconds
        seconds = min(section.seconds, threading.TIMEOUT_MAX)
        timer = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signum))
        timer.daemon = True
        timer.start()

    for callback in task._callbacks:
        _call(callback)


def _call(callback: Callable[[], Any]) -> None:
    try:
        callback()
    except Exception:
        traceback.print_exc()
