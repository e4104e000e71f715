"""Processes of this machine, named so that a reused process id is never taken for the one that was meant."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from anyio import sleep, wait_readable

from covalent_core._runner.processes import start_time
from covalent_core._runner.protocol import OUTPUT_BYTES, TAG


@dataclass(frozen=True)
class ProcessHandle:
    """A job handle of the local executor: ``<process id>.<start time>.<tag>``.

    Attributes:
        started: Clock ticks since boot; with the process id it names one process for ever.
        tag: What the process and all it started have in their environment.
    """

    pid: int
    started: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ProcessHandle:
        """Read a job handle."""
        pid, started, tag = text.split(".")
        return cls(int(pid), started, tag)

    def signal(self, signum: int) -> None:
        """Send a signal to the process if it is still the one that was meant."""
        with self._open() as descriptor:
            if descriptor is not None:
                signal.pidfd_send_signal(descriptor, signum)

    async def wait(self) -> None:
        """Return when the process has ended."""
        with self._open() as descriptor:
            if descriptor is not None:
                await wait_readable(descriptor)

    async def wait_for(self, file: str) -> None:
        """Return when a file is there, or the process has ended."""
        if not os.path.lexists(file):
            await self.wait()

    def output_sizes(self) -> tuple[int, int]:
        """Return how much the task below this supervisor has written, in bytes; of the one that runs now alone."""
        with suppress(OSError):
            if self._is_meant():
                return os.stat(f"/proc/{self.pid}/fd/1").st_size, os.stat(f"/proc/{self.pid}/fd/2").st_size

        return 0, 0

    def read_output(self) -> tuple[str, str]:
        """Return the end of what the task has written to its standard output and error."""
        found = []

        for number in (1, 2):
            # Through the supervisor itself: the files may have no names any more.
            with open(f"/proc/{self.pid}/fd/{number}", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
                found.append(file.read(OUTPUT_BYTES).decode("utf-8", "replace"))

        return found[0], found[1]

    async def sweep(self) -> None:
        """Kill whatever the process left behind; needed only if it was itself killed from outside."""
        while strays := processes_with(TAG, self.tag):
            for pid in strays:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

            await sleep(0.005)

    @contextmanager
    def _open(self) -> Iterator[int | None]:
        """Give a descriptor of the process, or None if it is gone; only then is the start time compared."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return

        try:
            yield descriptor if self._is_meant() else None
        finally:
            os.close(descriptor)

    def _is_meant(self) -> bool:
        try:
            return start_time(self.pid) == self.started
        except OSError:
            return False


def processes_with(variable: str, value: str) -> list[int]:
    """Return the live processes of this user that were started with an environment variable, but for this one."""
    wanted = f"{variable}={value}".encode()
    found = []

    for folder in Path("/proc").iterdir():
        # A zombie has no environment any more.
        with suppress(OSError):
            if folder.name.isdecimal() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))

    return [pid for pid in found if pid != os.getpid()]
