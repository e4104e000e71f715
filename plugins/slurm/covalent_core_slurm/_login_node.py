"""Where Slurm's commands are run and where the files of its jobs are seen: on this machine, or through SSH."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from covalent_core_slurm._files import LOOK, look_here, parse_look
from covalent_core_slurm._script import quote_path
from covalent_core_slurm.errors import SlurmError, SlurmRefusedError

if TYPE_CHECKING:
    from covalent_core_ssh import SSHHost

Progress = Callable[[int, int], None] | None

#: Commands at once on this machine.
MAX_PROCESSES = 16


class Finished(NamedTuple):
    """How a command ended. A status below zero is a signal."""

    status: int
    stdout: bytes
    stderr: bytes


class Shell(Protocol):
    """What runs commands and carries files; an `SSHConnection` is one too."""

    async def run(self, command: str, input: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Run a command and return its exit code, what it has written, and its errors."""

    async def put(self, content: bytes | memoryview, path: str, progress: Progress = None) -> None:
        """Write a file; when this returns, it is there as a whole."""

    async def get(self, path: str, target: str, progress: Progress = None) -> None:
        """Read a file into a local one."""

    async def close(self) -> None:
        """Leave it."""


class LoginNode:
    """A machine with Slurm's commands, which sees the files of its jobs.

    Args:
        host: How it is reached; None if it is this machine.
        slurm_path: The folder with the commands, where ``PATH`` does not have it.

    Attributes:
        is_here: Whether it is this machine.
        unreachable: What is raised if the way there is blocked, of which `lost` is raised in the middle of it.
    """

    def __init__(self, host: SSHHost | None = None, slurm_path: str = "") -> None:
        self.is_here = host is None
        self.unreachable: tuple[type[Exception], ...] = ()
        self.lost: tuple[type[Exception], ...] = ()
        self._shell = self._connect(host) if host else LocalShell()
        self._path = f"PATH={quote_path(slurm_path)}:$PATH; export PATH; " if slurm_path else ""
        self.put = self._shell.put
        self.get = self._shell.get
        self.close = self._shell.close

    async def run(self, command: str, input: bytes | None = None) -> Finished:
        """Run a command in a POSIX shell and return how it ended."""
        # Slurm's words are looked at, so they have to be English; the login shell may be any.
        words = f"sh -c {shlex.quote(f'LC_ALL=C; export LC_ALL; {self._path}{command}')}"
        return Finished(*await self._shell.run(words, input))

    def _connect(self, host: SSHHost) -> Shell:
        # What SSH needs takes long to be imported, and on a login node nobody needs it.
        from covalent_core_ssh import SSHConnection, SSHError, SSHLineLostError

        self.unreachable, self.lost = (SSHError,), (SSHLineLostError,)
        return SSHConnection(host)

    async def look(self, prefixes: Collection[str]) -> Mapping[str, Mapping[str, int]]:
        """Return what files the runners of jobs have left, by the beginnings of their names, and how large they are.

        Raises:
            SlurmError: It could not be seen.
        """
        if self.is_here:
            return await asyncio.to_thread(look_here, prefixes)

        finished = await self.run(LOOK, "".join(f"{prefix}\n" for prefix in prefixes).encode())

        if finished.status != 0:
            raise SlurmError(f"cannot look at the files of jobs: {finished.stderr.decode(errors='replace').strip()}")

        return parse_look(prefixes, finished.stdout.decode(errors="replace"))


class LocalShell:
    """This machine as the login node."""

    def __init__(self) -> None:
        self._processes = asyncio.Semaphore(MAX_PROCESSES)

    async def run(self, command: str, input: bytes | None = None) -> Finished:
        """Run a command and return how it ended."""
        # A file, because a pipe breaks where a command ends before it has read its input.
        with tempfile.TemporaryFile() as file:
            file.write(input or b"")
            file.seek(0)

            async with self._processes:
                # A session of its own: what ends the dispatcher must not end an sbatch that is under way.
                process = await asyncio.create_subprocess_exec(
                    "sh", "-c", f"exec {command}", stdin=file, stdout=PIPE, stderr=PIPE, start_new_session=True
                )
                stdout, stderr = await process.communicate()

        return Finished(process.returncode or 0, stdout, stderr)

    async def put(self, content: bytes | memoryview, path: str, progress: Progress = None) -> None:
        """Write a file; when this returns, it is there as a whole. It is readable for its owner alone.

        Raises:
            SlurmRefusedError: It cannot be written there.
        """
        try:
            await asyncio.to_thread(_write, content, path)
        except OSError as error:
            raise SlurmRefusedError(f"cannot write {path}: {error.strerror}") from error

    async def get(self, path: str, target: str, progress: Progress = None) -> None:
        """Read a file into another.

        Raises:
            FileNotFoundError: There is no such file.
        """
        await asyncio.to_thread(shutil.copyfile, path, target)

    async def close(self) -> None:
        """There is nothing to leave."""


def _write(content: bytes | memoryview, path: str) -> None:
    part = f"{path}.{os.urandom(4).hex()}"

    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)

        os.rename(part, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(part)

        raise
