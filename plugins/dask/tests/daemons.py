"""Start the daemons of Dask clusters in milliseconds: forked from a process that has imported what they need.

This file, run as a program, forks a daemon for every line of JSON that comes in and answers with its process id. What
it has forked ends with it, and it ends with its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from typing import Any

#: A host name of its own.
CLONE_NEWUTS = 0x04000000

#: Mounts of its own, of which the others do not hear.
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18


def become(order: dict[str, Any]) -> None:
    """Be a daemon in a session of its own, as its command makes it."""
    import dask.config

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        path = order["log"] if number else os.devnull
        os.dup2(os.open(path, mode | (os.O_CREAT | os.O_APPEND if number else 0), 0o600), number)

    if order["host"]:
        # What it and all that it starts call this machine: to others it is another one.
        ctypes.CDLL(None).unshare(CLONE_NEWUTS)
        ctypes.CDLL(None).sethostname(order["host"].encode(), len(order["host"]))

    if order["hide"]:
        hide(order["hide"])

    if order["path"]:
        # What is said to be installed is found there first.
        sys.path.insert(0, order["path"])

    dask.config.set(order["config"])
    os.environ.update(
        {f"DASK_{name.upper().replace('.', '__')}": str(value) for name, value in order["config"].items()}
    )
    sys.argv = [order["program"], *order["arguments"]]
    PROGRAMS[order["program"]](args=order["arguments"])


def hide(folder: str) -> None:
    """Let this process see another folder in the place of one."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(CLONE_NEWNS)
    private = libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    mounted = libc.mount(b"none", folder.encode(), b"tmpfs", 0, None)

    if private or mounted:
        raise OSError(ctypes.get_errno(), "cannot mount")


PROGRAMS: dict[str, Any] = {}


def main() -> None:
    from distributed.cli import dask_scheduler, dask_worker

    PROGRAMS.update(scheduler=dask_scheduler.main, worker=dask_worker.main)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    for line in sys.stdin:
        pid = os.fork()

        if pid == 0:
            try:
                become(json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)

        print(pid, flush=True)


if __name__ == "__main__":
    main()
