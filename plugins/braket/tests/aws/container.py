"""A container: a process that starts another, is told of all that comes below it, and leaves none of them alive.

It is run by itself. When its standard input ends, what it has started is killed, as by an order to end; so nothing
outlives who has started it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

#: How often those are buried whose parents have not done it.
BURIAL_SECONDS = 0.5


def main(command: list[str]) -> None:
    """Run a command as the first process of a container, and exit as it does."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    first = os.fork()

    if first == 0:
        become(command)

    sys.exit(watch(first, os.pidfd_open(first)))


def become(command: list[str]) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.execv(command[0], command)


def watch(first: int, end_of_first: int) -> int:
    """Wait for the end of the first process, or for the order to end; return its exit code."""
    while True:
        ready, _, _ = select.select([0, end_of_first], [], [], BURIAL_SECONDS)
        code = buried(first)

        if code is None and 0 in ready:
            # The first process alone is told, and nobody waits for what it does about it.
            os.kill(first, signal.SIGTERM)
            code = 137

        if code is not None:
            kill_all()
            return code


def buried(first: int) -> int | None:
    """Bury who has ended; return the exit code of the first process if it is one of them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None

        if pid == 0:
            return None

        if pid == first:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def kill_all() -> None:
    """Kill all that is below this process, and what these still start, until nothing is there."""
    while True:
        for pid in below(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def below(top: int) -> set[int]:
    """Return all processes that descend from one."""
    parents = {}

    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue

    found: set[int] = set()
    new = {top}

    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new

    return found


if __name__ == "__main__":
    main(sys.argv[1:])
