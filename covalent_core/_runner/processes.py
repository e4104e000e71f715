"""Processes, as /proc knows them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import List

from .protocol import TAG

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def set_process_option(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed; Linux 3.4 or newer is needed")


def start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; with the pid it names a process for ever.

    Raises:
        FileNotFoundError: There is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[19].decode()


def children(pid: int) -> List[int]:
    found: List[int] = []

    try:
        # Two links are those of every folder; most processes have one thread.
        alone = os.stat(f"/proc/{pid}/task").st_nlink == 3
        threads = [str(pid)] if alone else os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found

    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
            found.extend(map(int, file.read().split()))

    return found


def descendants(pid: int) -> List[int]:
    found = children(pid)

    for child in found:
        found.extend(children(child))

    return found


def catches(pid: int, signum: int) -> bool:
    """Return whether a process has a handler for a signal."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        masks = [line.split()[1] for line in status if line.startswith("SigCgt:")]
        return bool(int(masks[0], 16) >> (signum - 1) & 1)

    return False


def send(pids: List[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def own_handle() -> str:
    """Return the job handle of this process: ``<process id>.<start time>.<tag>@<place>``."""
    return f"{os.getpid()}.{start_time(os.getpid())}.{os.environ.get(TAG, '')}{own_place()}"


def own_place() -> str:
    """Return where process ids mean what they mean here: ``@<namespace>.<boot>.<host>``; nothing if that is hidden."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"@{os.readlink('/proc/self/ns/pid')[len('pid:[') : -1]}.{file.read().strip()}.{os.uname().nodename}"

    return ""


def claim(prefix: str, handle: str) -> bool:
    """Make this process the one that runs the job at `prefix`; return False if another process is.

    Two runners of one bundle, the first started by a dispatcher that died, settle it here: creating a symbolic link is
    atomic and brings its content along.
    """
    try:
        os.symlink(handle, prefix + ".process")
    except FileExistsError:
        return False

    return True
