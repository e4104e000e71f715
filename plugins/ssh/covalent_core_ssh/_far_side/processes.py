"""The processes of jobs, as /proc shows them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

#: The environment variable that marks a job's runner and all that it starts. The agent itself bears it with 32 zeros.
TAG = "COVALENT_CORE_SUPERVISOR"

#: Seconds after the grace period in which the processes of a job must have gone.
KILL_SECONDS = 10.0

#: Seconds between looks at a job that another agent has started, and at one that is beginning or ending.
FAR_LOOK, NEAR_LOOK = 0.1, 0.002


class RefusalError(Exception):
    """What cannot be done, in words for the user."""


class Process:
    """The runner of a job, as its handle names it: ``<process id>.<start time>.<tag>``."""

    def __init__(self, handle: str) -> None:
        pid, self.started, self.tag = handle.split(".")
        self.pid = int(pid)

    def is_alive(self) -> bool:
        """Whether it lives. Its number may belong to another process by now, also one of another boot."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                state, *fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return False

        # One that is just ending has no environment any more.
        is_ours = not environment(self.pid) or has_tag(self.pid, self.tag)
        return state not in (b"Z", b"X") and fields[18].decode() == self.started and is_ours

    def signal(self, signum: int) -> None:
        # The descriptor first: what it means cannot change between the look and the signal.
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


def environment(pid: int) -> list[bytes]:
    """Return the environment that a process was started with, empty if it is ending."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read()
    except PermissionError:
        return [b"another user's"]
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
