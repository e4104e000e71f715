"""Processes, named so that neither a reused process id nor another machine is taken for what was meant.

Runs on far sides too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass, field

from covalent_core._runner.processes import start_time
from covalent_core._runner.protocol import TAG
from covalent_core.backend._proc import Place, Process, environment, has_tag, living, look_at, send
from covalent_core.backend._strays import sweep
from covalent_core.errors import BackendUnreachableError

__all__ = ["TAG", "Place", "ProcessHandle", "sweep"]

#: Seconds between looks at a process where the kernel cannot say when it has ended.
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessHandle:
    """A process, in a text ``<process id>.<start time>.<tag>@<namespace>.<boot>.<host>``.

    Attributes:
        pid: Its process id.
        started: When it started, in clock ticks since boot; with `pid` it names one process of a boot for ever.
        tag: What it and all that it starts have in their environment as ``COVALENT_CORE_SUPERVISOR``; may be empty.
        place: Where it runs.
    """

    pid: int
    started: str
    tag: str = ""
    place: Place = field(default_factory=Place.here)

    @classmethod
    def of(cls, pid: int, tag: str = "") -> ProcessHandle:
        """Return the handle of a process that was just started here.

        Raises:
            FileNotFoundError: There is none.
        """
        return cls(pid, start_time(pid), tag)

    @classmethod
    def tagged(cls, tag: str) -> list[ProcessHandle]:
        """Return the living processes of this place that bear a tag, and can be seen to, the oldest first."""
        found = [process for process in living() if has_tag(process.pid, tag)]
        return [cls(process.pid, process.started, tag) for process in sorted(found, key=lambda p: int(p.started))]

    @classmethod
    def parse(cls, text: str) -> ProcessHandle:
        """Read a handle. One that does not say where its process runs, as those of runners do not, is of this place.

        Raises:
            ValueError: It is no handle.
        """
        process, at, place = text.partition("@")
        pid, started, tag = [*process.split(".", 2), ""][:3]
        return cls(int(pid), started, tag, Place.parse(place) if at else Place.here())

    def __str__(self) -> str:
        return ".".join([str(self.pid), self.started, *([self.tag] if self.tag else [])]) + f"@{self.place}"

    def is_alive(self) -> bool | None:
        """Return whether the process lives; None where that cannot be known from here.

        It cannot on another host, and not in another process id namespace, as that of a container is. A host that was
        booted since has nothing of it any more.
        """
        if not (is_here := self.place.is_here()):
            return is_here

        found = look_at(self.pid)
        return self._is_meant(found) if isinstance(found, Process) else found

    def signal(self, signum: int) -> None:
        """Send a signal to the process, if it lives and is the one that was meant.

        Raises:
            BackendUnreachableError: It runs in another place.
        """
        if self._check_place():
            send(self.pid, signum, self.is_alive)

    async def wait(self) -> None:
        """Return when the process has ended.

        Raises:
            BackendUnreachableError: It runs in another place.
        """
        if self._check_place():
            await self._wait_for_the_kernel()

        while self.is_alive() is not False:
            await asyncio.sleep(LOOK_SECONDS)

    async def is_over_within(self, seconds: float) -> bool:
        """Return True as soon as the process has ended, False if it has not in time.

        Raises:
            BackendUnreachableError: It runs in another place.
        """
        waiting = asyncio.ensure_future(self.wait())

        try:
            await asyncio.wait([waiting], timeout=seconds)

            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()

        return self.is_alive() is False

    async def sweep(self, seconds: float = 10.0, noted: Collection[str] = ()) -> None:
        """Kill whatever the process has left behind; needed where it was itself killed from outside. See `sweep`.

        Raises:
            BackendUnreachableError: It runs in another place.
            ExecutorError: Something is alive all the same, or may be.
        """
        if self._check_place():
            await sweep(self.tag, after=self.started, noted=noted, seconds=seconds)

    async def _wait_for_the_kernel(self) -> None:
        """Return when the kernel says that the process has ended, or cannot say so."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            return

        try:
            # Only now: what it means cannot change any more.
            if self.is_alive():
                await _readable(descriptor)
        finally:
            os.close(descriptor)

    def _check_place(self) -> bool:
        """Return whether the process can be looked at from here, False if it is gone for certain.

        Raises:
            BackendUnreachableError: It cannot.
        """
        is_here = self.place.is_here()

        if is_here is None:
            here = Place.here()
            container = " in another container" if here.host == self.place.host else ""
            raise BackendUnreachableError(
                f"process {self.pid} runs on {self.place.host}{container}, and this is {here.host}, from where it "
                f"cannot be seen; go on there, or wait"
            )

        return is_here

    def _is_meant(self, found: Process) -> bool:
        # The start time of another boot may be the same; one that is just ending has no environment any more.
        variables = environment(self.pid) if self.tag else None
        bears_it = not variables or f"{TAG}={self.tag}".encode() in variables
        return found.started == self.started and not found.is_ending and bears_it


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)

    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
