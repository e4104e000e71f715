"""The lock of a home: who holds it is the dispatcher, and its file tells others who that is."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO

from covalent_core import __version__
from covalent_core._home import Home, open_private
from covalent_core._runner.processes import start_time
from covalent_core._runner.protocol import TAG

#: The environment variable that a process has which ends with a task.
TASK_MARK = TAG


@dataclass(frozen=True)
class Holder:
    """The process that has taken the lock of a home last.

    Attributes:
        started: Clock ticks since boot; with the process id it names one process.
        python: Its interpreter.
        version: Its version of Covalent Core.
    """

    pid: int
    started: str
    python: str
    version: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.python}, covalent-core {self.version})"

    def signal(self, signum: int) -> bool:
        """Send a signal; return False if this process is not among those that can be seen from here."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False

        try:
            # Once the descriptor is open, the process id cannot become another's unseen.
            if start_time(self.pid) != self.started:
                return False

            signal.pidfd_send_signal(descriptor, signum)
        except (FileNotFoundError, ProcessLookupError):
            return False
        finally:
            os.close(descriptor)

        return True


def this_process() -> Holder:
    """Return how this process would be named as the holder of a lock."""
    return Holder(os.getpid(), start_time(os.getpid()), sys.executable, __version__)


def is_part_of_task() -> bool:
    """Return whether this process ends with a task: it is one, or was started by one."""
    return TASK_MARK in os.environ


def is_served(home: Home) -> bool:
    """Return whether a dispatcher holds the lock of `home`."""
    with suppress(FileNotFoundError), open(home.lock) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True

    return False


def last_holder(home: Home) -> Holder | None:
    """Return who has taken the lock of `home` last, or None where the file does not say."""
    try:
        return Holder(**json.loads(home.lock.read_text().partition("\n")[0]))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def take_lock(home: Home) -> IO[str] | None:
    """Return the lock that makes this process the dispatcher of `home`, or None if another process has it."""
    lock = open_private(home.lock, "r+")

    for attempt in range(5):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # A client that looks whether there is a dispatcher holds it for a moment.
            time.sleep(0.002 * attempt)
    else:
        lock.close()
        return None

    # In one piece, and only then without the rest of a longer line: whoever reads it finds one holder, old or new.
    line = json.dumps(asdict(this_process())).encode() + b"\n"
    os.pwrite(lock.fileno(), line, 0)
    os.ftruncate(lock.fileno(), len(line))
    return lock
