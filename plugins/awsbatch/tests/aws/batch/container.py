"""A container: a process in a PID namespace of its own, in which it is process 1.

So SIGTERM reaches process 1 alone and does nothing to one that does not listen, the end of process 1 is the end of
every other, and none of them outlives the server.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

_NAMESPACES = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
_LONGEST_LINE = 64 * 1024


@functools.cache
def in_namespace() -> list[str]:
    """Return what starts a command as process 1.

    Raises:
        OSError: This machine gives no PID namespaces.
    """
    setpriv, unshare = shutil.which("setpriv"), shutil.which("unshare")

    if setpriv is None or unshare is None:
        raise OSError("jobs run in PID namespaces: setpriv and unshare are needed, of the Debian package util-linux")

    for rights in ([], ["--user", "--map-root-user"]):
        start = [unshare, *rights, *_NAMESPACES, "--"]

        if subprocess.run([*start, "true"], capture_output=True).returncode == 0:
            return [setpriv, "--pdeathsig", "KILL", *start]

    raise OSError("jobs run in PID namespaces: neither root nor user namespaces are to be had here")


class Running:
    """A container that was started.

    Attributes:
        alive: All that have not ended.
        ended: Its exit code, as docker says it, once nothing of it is alive and its output is read.
    """

    alive: ClassVar[set[Running]] = set()

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, write: Callable[[list[str]], None]) -> None:
        self._process = process
        self._folder = folder
        self.alive.add(self)
        self.ended = asyncio.create_task(self._run(write))

    @classmethod
    async def start(
        cls, command: list[str], environment: dict[str, str], folder: Path, write: Callable[[list[str]], None]
    ) -> Running:
        """Start it in an empty folder, with this environment and nothing else."""
        folder.mkdir(parents=True)
        process = await asyncio.create_subprocess_exec(
            *in_namespace(),
            *command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process, folder, write)

    async def _run(self, write: Callable[[list[str]], None]) -> int:
        await self._pass_on(write)
        code = await self._process.wait()
        self.alive.discard(self)
        shutil.rmtree(self._folder, ignore_errors=True)
        return code if code >= 0 else 128 - code

    async def stop(self, timeout: float, signalled: bool = True) -> int:
        """Ask process 1 to end, and end everything after the timeout."""
        if signalled:
            self._signal(signal.SIGTERM)

        await asyncio.wait([self.ended], timeout=timeout)
        return self.ended.result() if self.ended.done() else await self.kill()

    async def kill(self) -> int:
        """End everything of it."""
        self._signal(signal.SIGKILL)
        await asyncio.wait([self.ended])
        return 128 + signal.SIGKILL

    def _signal(self, number: int) -> None:
        """Send this to process 1, or to what starts it if it is not there yet."""
        parent = self._process.pid

        with suppress(ProcessLookupError, FileNotFoundError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()

            if children:
                os.kill(int(children[0]), number)
            elif number == signal.SIGKILL:
                os.kill(parent, number)

    async def _pass_on(self, write: Callable[[list[str]], None]) -> None:
        """Hand on whole lines as they come, and the last one even if it is none."""
        assert self._process.stdout is not None
        rest = b""

        while chunk := await self._process.stdout.read(_LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")

            if len(rest) >= _LONGEST_LINE:
                lines, rest = [*lines, rest], b""

            if lines:
                write([line.decode(errors="replace") for line in lines])

        if rest and not rest.startswith(b"unshare: "):
            write([rest.decode(errors="replace")])
