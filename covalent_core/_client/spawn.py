"""What a client does about the dispatcher of a home: start one, ring the bell, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from covalent_core import _failures
from covalent_core._detached import DetachedProcess
from covalent_core._home import Home, open_private
from covalent_core._lock import TASK_MARK, Holder, is_part_of_task, is_served, last_holder
from covalent_core.errors import DispatcherError

#: How long a dispatcher that a client has started stays without work.
IDLE_SECONDS = 300.0
#: How long a new dispatcher may take until it holds its lock.
START_SECONDS = 30.0
#: How long a dispatcher that is told to end may take until its lock is free.
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Started:
    """A dispatcher that this process has started, and when, in monotonic seconds."""

    process: DetachedProcess
    at: float

    def may_take_lock(self, home: Home) -> bool:
        """Return whether it is still starting. One that has had the lock is ending, and how long that takes is open."""
        return self.process.poll() is None and not self.has_served(home) and time.monotonic() - self.at < START_SECONDS

    def has_served(self, home: Home) -> bool:
        """Return whether it was the last to have the lock."""
        holder = last_holder(home)
        return holder is not None and holder.pid == self.process.pid


#: What this process has started last, by the folder of the home.
_started: dict[Path, Started] = {}


def start_dispatcher(home: Home) -> None:
    """Start a dispatcher process if none lives; do not wait for it. Of several started at once, one stays.

    A process that is part of a task starts none: it would end with the task, and the work of others with it.
    """
    started = _started.get(home.folder)

    # In this order: one that takes the lock in between would be taken for one that is ending.
    if (started is not None and started.may_take_lock(home)) or is_served(home) or is_part_of_task():
        return

    home.create()

    if started is not None:
        _note_signal(home, started)

    command = [sys.executable, "-m", "covalent_core", "serve", "--idle-seconds", _idle_seconds()]

    with open_private(home.log, "ab") as log:
        process = DetachedProcess(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.folder,
            env={**os.environ, "COVALENT_CORE_HOME": str(home.folder)},
            start_new_session=True,
        )

    _started[home.folder] = Started(process, time.monotonic())


def ensure_dispatcher(home: Home) -> None:
    """Return when a dispatcher serves `home` and has been told to look at the store.

    A process that is part of a task waits for one that others start, and warns where none has come in time.

    Raises:
        DispatcherError: It cannot be started, or fails again and again; the message holds the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    before = _started.get(home.folder)

    while not is_served(home):
        if is_part_of_task():
            if time.monotonic() > deadline:
                _warn_in_task(home)
                return
        elif _has_failed(home, before) or time.monotonic() > deadline:
            raise DispatcherError(_failure(home))
        elif failures := _failures.repeated(home):
            raise DispatcherError(
                f"the dispatcher of {home.folder} fails each time it is started ({failures}); the next call tries "
                f"again. {_end_of_log(home)}"
            )

        start_dispatcher(home)
        time.sleep(0.005)

    ring(home)


def stop_dispatcher(home: Home) -> Holder | None:
    """End the dispatcher of `home`, and return who it was when it has given its lock back; None if there was none.

    What runs goes on, and is taken up by the next dispatcher. Another client may start that at any time.

    Raises:
        DispatcherError: It has not ended in time, or cannot be told to.
    """
    deadline = time.monotonic() + STOP_SECONDS
    told: Holder | None = None

    while is_served(home):
        holder = last_holder(home)

        if told is None:
            told = holder if holder is not None and holder.signal(signal.SIGTERM) else None
        elif holder != told:
            break

        if time.monotonic() > deadline:
            raise DispatcherError(_still_there(home, holder, told))

        time.sleep(0.01)

    return told


def ring(home: Home) -> None:
    """Let the dispatcher look at the store now rather than at its next poll. Nothing depends on its being heard."""
    with suppress(OSError):
        bell = os.open(home.bell, os.O_WRONLY | os.O_NONBLOCK)

        try:
            os.write(bell, b"!")
        finally:
            os.close(bell)


def _idle_seconds() -> str:
    return os.environ.get("COVALENT_CORE_IDLE_SECONDS", str(IDLE_SECONDS))


def _has_failed(home: Home, before: Started | None) -> bool:
    """Return whether what was started since has ended with an error, which it would do again; not if it was killed."""
    started = _started.get(home.folder)
    return started is not None and started is not before and (started.process.poll() or 0) > 0


def _note_signal(home: Home, started: Started) -> None:
    """Note it if a dispatcher was ended by a signal that is no order to end, and no kill of one that served."""
    signum = -(started.process.poll() or 0)
    # Who kills one that serves wants to see it come back, however often.
    orders = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *([signal.SIGKILL] if started.has_served(home) else [])}

    if signum > 0 and signum not in orders:
        _failures.note(home, f"signal {signum}, {signal.strsignal(signum)}")


def _failure(home: Home) -> str:
    process = _started[home.folder].process
    code = process.poll()
    what = f"has not taken its lock within {START_SECONDS:g} s" if code is None else f"ended with exit code {code}"
    return (
        f"the dispatcher of {home.folder} cannot be started: process {process.pid}, started with {sys.executable}, "
        f"{what}. {_end_of_log(home)}"
    )


def _end_of_log(home: Home) -> str:
    tail = home.log.read_text(errors="replace")[-2000:] if home.log.exists() else ""
    return f"The end of {home.log}:\n{tail}"


def _warn_in_task(home: Home) -> None:
    warnings.warn(
        f"no dispatcher serves {home.folder}, and process {os.getpid()} ({sys.executable}) starts none, because it is "
        f"part of a task ({TASK_MARK} is set) and the dispatcher would end with the task; what is in the store waits "
        f"for one that is started outside, by any call of another client or with: "
        f"COVALENT_CORE_HOME={home.folder} covalent-core serve",
        stacklevel=2,
    )


def _still_there(home: Home, holder: Holder | None, told: Holder | None) -> str:
    if told is not None:
        return (
            f"the dispatcher of {home.folder}, {told}, has not ended within {STOP_SECONDS:g} s of being told to; it "
            f"waits for hooks of executors that cannot be interrupted: see {home.log}, or end it with: "
            f"kill -9 {told.pid}"
        )

    if holder is not None:
        return (
            f"the dispatcher of {home.folder}, {holder}, cannot be told to end: there is no such process here; it is "
            f"in another container or on another machine, and covalent-core stop has to run there"
        )

    return (
        f"a dispatcher holds {home.lock}, and the file does not say which process it is; find it with "
        f"'fuser {home.lock}' and end it with kill"
    )
