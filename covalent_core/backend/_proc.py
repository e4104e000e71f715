"""What /proc says, and where that is: on which host, since which boot, in which process id namespace.

Runs on far sides too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from covalent_core._runner.protocol import TAG

#: The flag of processes that are threads of the kernel.
KERNEL_THREAD = 0x00200000

#: The inode of the namespace that a kernel begins with; those of containers have others.
FIRST_NAMESPACE = "4026531836"


@dataclass(frozen=True)
class Place:
    """Where a process id means something: ``<namespace>.<boot>.<host>``.

    Attributes:
        namespace: The inode of the process id namespace.
        boot: The id of the boot.
        host: The name of the host, which may have dots.
    """

    namespace: str
    boot: str
    host: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read a place.

        Raises:
            ValueError: It is none.
        """
        namespace, boot, host = text.split(".", 2)
        return cls(namespace, boot, host)

    @classmethod
    def here(cls) -> Place:
        """Return where this process runs."""
        # Who was forked into another namespace, or has got another host name, is somewhere else.
        return cls(os.readlink("/proc/self/ns/pid")[len("pid:[") : -1], _boot(), os.uname().nodename)

    def __str__(self) -> str:
        return f"{self.namespace}.{self.boot}.{self.host}"

    def is_here(self) -> bool | None:
        """Return whether process ids of this place mean the same here; None where its processes cannot be seen.

        False means that it is no more: the host was booted since. Host names of containers are given again, so of these
        that is not known.
        """
        here = Place.here()

        if self == here:
            return True

        rebooted = self.host == here.host and self.boot != here.boot
        return False if rebooted and self.namespace == here.namespace == FIRST_NAMESPACE else None


@dataclass(frozen=True)
class Process:
    """A process, as its file ``stat`` shows it.

    Attributes:
        started: In clock ticks since boot.
        is_ending: Whether it runs no more, and waits for its parent to take notice.
    """

    pid: int
    parent: int
    session: int
    started: str
    is_ending: bool

    @property
    def name(self) -> str:
        """What no other process of this boot is called: ``<process id>.<start time>``."""
        return f"{self.pid}.{self.started}"


def look_at(pid: int) -> Process | Literal[False] | None:
    """Return a process as it is now, False if there is none, None if that is not to be seen."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False if os.path.exists("/proc/self/stat") else None
    except OSError:
        return None

    state, parent, _, session, *others = stat.rpartition(b")")[2].split()
    return Process(pid, int(parent), int(session), others[15].decode(), state in (b"Z", b"X"))


def living() -> Iterator[Process]:
    """Give all processes that can be seen and run, but for this one."""
    for name in os.listdir("/proc"):
        process = look_at(int(name)) if name.isdecimal() else None

        if isinstance(process, Process) and not process.is_ending and process.pid != os.getpid():
            yield process


def send(pid: int, signum: int, is_meant: Callable[[], object]) -> None:
    """Send a signal to a process if it is the one that is meant, and lives."""
    with suppress(ProcessLookupError):
        # The descriptor first: what it means cannot change between the look and the signal. Python 3.8 has none.
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None

        try:
            if is_meant() and descriptor is not None:
                signal.pidfd_send_signal(descriptor, signum)
            elif is_meant():
                os.kill(pid, signum)
        finally:
            if descriptor is not None:
                os.close(descriptor)


def has_tag(pid: int, tag: str) -> bool | None:
    """Return whether a process was started with a tag, None if it is of this user and does not let that be seen."""
    variables = environment(pid)
    return f"{TAG}={tag}".encode() in variables if variables is not None else None


def environment(pid: int) -> list[bytes] | None:
    """Return what a process was started with, None if it is of this user and that cannot be seen, or not yet.

    Of one that is gone, that is ending, or that is another user's, that is nothing.
    """
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError:
        return None if _user_of(pid) == os.getuid() else []

    if not content:
        return None if _is_beginning(pid) else []

    return content.split(b"\0")


def _is_beginning(pid: int) -> bool:
    """Return whether a process is just becoming another program, and has no place for an environment yet."""
    try:
        state, *others = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False

    flags, end_of_environment = int(others[5]), int(others[47])
    return state not in (b"Z", b"X") and not flags & KERNEL_THREAD and end_of_environment == 0


def _user_of(pid: int) -> int | None:
    # Not the owner of the folder: that is root's where the environment is not to be seen.
    with suppress(OSError), open(f"/proc/{pid}/status", errors="replace") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("Uid:")), None)

    return None


@lru_cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
