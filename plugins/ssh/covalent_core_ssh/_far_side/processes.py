"""The processes of jobs, as /proc shows them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

#: The environment variable that marks a job's runner and all that it starts, and what agents and nurseries have there.
TAG, IDLE = "COVALENT_CORE_SUPERVISOR", "0" * 32

#: The process id namespace that a kernel begins with; those of containers have other numbers.
FIRST_NAMESPACE = "4026531836"

#: Seconds after the grace period in which the processes of a job must have gone.
KILL_SECONDS = 10.0

#: Seconds between looks at a job that another agent has started, and at one that is beginning or ending.
FAR_LOOK, NEAR_LOOK = 0.1, 0.002


class RefusalError(Exception):
    """What cannot be done, in words for the user."""


class ElsewhereError(Exception):
    """A process runs where it cannot be seen from here, so nothing is known of it."""


class Process:
    """The runner of a job, as its handle names it: ``<process id>.<start time>.<tag>@<place>``."""

    def __init__(self, handle: str) -> None:
        process, _, self.place = handle.partition("@")
        pid, self.started, self.tag = process.split(".")
        self.pid = int(pid)

    def is_here(self) -> bool:
        """Whether it can be seen from here; False means that it is gone, for its host was booted since.

        Raises:
            ElsewhereError: It runs on another host, or in another container.
        """
        if self.place in ("", here()):
            return True

        (namespace, boot, host), (own_namespace, own_boot, own_host) = self.place.split(".", 2), here().split(".", 2)

        # Names of containers are given again, those of hosts are not.
        if host == own_host and boot != own_boot and namespace == own_namespace == FIRST_NAMESPACE:
            return False

        raise ElsewhereError

    def is_alive(self) -> bool:
        """Whether it lives, or its nursery has not yet ended what it left. Its number may be another's by now.

        Raises:
            ElsewhereError: That cannot be known here.
        """
        if not self.is_here():
            return False

        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                state, parent, *fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False

        if fields[17].decode() != self.started:
            return False

        if state in (b"Z", b"X"):
            return has_tag(int(parent), IDLE)

        # One that is just ending has no environment any more.
        return not environment(self.pid) or has_tag(self.pid, self.tag)

    def signal(self, signum: int) -> None:
        # The descriptor first: what it means cannot change between the look and the signal.
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else None  # type: ignore[attr-defined,unused-ignore]

            try:
                if not self.is_alive() or not has_tag(self.pid, self.tag):
                    return

                if descriptor is not None:
                    signal.pidfd_send_signal(descriptor, signum)  # type: ignore[attr-defined,unused-ignore]
                else:
                    os.kill(self.pid, signum)
            finally:
                if descriptor is not None:
                    os.close(descriptor)

    async def is_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds

        while self.is_alive():
            if time.monotonic() > deadline:
                return False

            await asyncio.sleep(NEAR_LOOK)

        return True


def here() -> str:
    """Return where process ids mean what they mean here: ``<process id namespace>.<boot>.<host>``."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()

    return f"{os.readlink('/proc/self/ns/pid')[len('pid:[') : -1]}.{boot}.{os.uname().nodename}"


def environment(pid: int) -> list[bytes]:
    """Return the environment that a process was started with, empty if it is ending."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read()
    except PermissionError:
        return [b"not to be seen"]
    except OSError:
        return []

    return content.split(b"\0") if content else []


def has_tag(pid: int, tag: str) -> bool:
    return f"{TAG}={tag}".encode() in environment(pid)


def processes_with(tag: str) -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and has_tag(int(name), tag)]


async def sweep(tag: str, seconds: float) -> None:
    """Kill all that bears a tag: what is left of a job whose runner was itself killed."""
    deadline = time.monotonic() + seconds

    while True:
        strays = processes_with(tag)

        if not strays:
            return

        if time.monotonic() > deadline:
            raise RefusalError(f"the processes {', '.join(map(str, strays))} are alive {seconds:g} s after SIGKILL")

        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        await asyncio.sleep(NEAR_LOOK)
