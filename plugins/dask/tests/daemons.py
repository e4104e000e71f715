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

    dask.config.set(order["config"])
    os.environ.update(
        {f"DASK_{name.upper().replace('.', '__')}": str(value) for name, value in order["config"].items()}
    )
    sys.argv = [order["program"], *order["arguments"]]
    PROGRAMS[order["program"]](args=order["arguments"])


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
