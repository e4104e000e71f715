"""Where Slurm's commands are run and where the files of its jobs are seen: on this machine, or through SSH."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import shutil
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from covalent_core_slurm._files import LOOK, look_here, parse_look
from covalent_core_slurm._script import quote_path
from covalent_core_slurm.errors import SlurmRefusedError, SlurmUnreachableError

if TYPE_CHECKING:
    from covalent_core_ssh import SSHConnection, SSHHost

Progress = Callable[[int, int], None] | None

#: Commands at once on this machine.
MAX_PROCESSES = 16

#: What users and sites set for Slurm's commands would change what is asked and what is answered, and a job that this
#: runs in is another one. What says where the cluster is stays.
_UNSET = r"""
for name in $(env | sed -nE 's/^((SBATCH|SQUEUE|SCANCEL|SACCT|SLURM)_[A-Za-z0-9_]*)=.*/\1/p'); do
    case $name in SLURM_CONF|SLURM_JWT) ;; *) unset "$name" ;; esac
done
"""


class Finished(NamedTuple):
    """How a command ended. A status below zero is a signal."""

    status: int
    stdout: bytes
    stderr: bytes


class LoginNode:
    """A machine with Slurm's commands, which sees the files of its jobs.

    Whatever is wrong with the way there is a `SlurmUnreachableError`.

    Args:
        host: How it is reached; None if it is this machine.
        slurm_path: The folder with the commands, where ``PATH`` does not have it.

    Attributes:
        is_here: Whether it is this machine.
    """

    def __init__(self, host: SSHHost | None = None, slurm_path: str = "") -> None:
        self.is_here = host is None
        self._lost: tuple[type[Exception], ...] = ()
        self._denied: tuple[type[Exception], ...] = ()
        self._shell: LocalShell | SSHConnection = self._connect(host) if host else LocalShell()
        self._path = f"PATH={quote_path(slurm_path)}:$PATH; export PATH; " if slurm_path else ""
        self.close = self._shell.close

    async def run(self, command: str, input: bytes | None = None) -> Finished:
        """Run a command in a POSIX shell and return how it ended, without what login scripts print before it."""
        mark = f"covalent-core {secrets.token_hex(8)}"
        marked = f"echo; echo {mark}; {{ echo; echo {mark}; }} >&2; {_UNSET}"
        # Slurm's words are looked at, so they have to be English; the login shell may be any.
        words = f"sh -c {shlex.quote(f'{marked}LC_ALL=C; export LC_ALL; {self._path}{command}')}"

        with self._reaching():
            status, stdout, stderr = await self._shell.run(words, input)

        before, _, answer = stdout.partition(f"\n{mark}\n".encode())

        if not answer and before == stdout:
            said = b" ".join([*stderr.split(), *stdout.split()]).decode(errors="replace")
            raise SlurmUnreachableError(f"the login shell has not run a command (status {status}): {said}")

        return Finished(status, answer, stderr.rpartition(f"\n{mark}\n".encode())[2])

    async def put(self, content: bytes | memoryview, path: str, progress: Progress = None) -> None:
        """Write a file; when this returns, it is there as a whole. It is readable for its owner alone.

        Raises:
            SlurmRefusedError: It cannot be written there.
        """
        with self._reaching():
            await self._shell.put(content, path, progress)

    async def get(self, path: str, target: str, progress: Progress = None) -> None:
        """Read a file into a local one.

        Raises:
            FileNotFoundError: There is no such file.
            SlurmUnreachableError: It could not be read.
        """
        try:
            with self._reaching():
                await self._shell.get(path, target, progress)
        except (FileNotFoundError, SlurmUnreachableError):
            raise
        except Exception as error:
            raise SlurmUnreachableError(f"cannot read {path}: {type(error).__name__}: {error}") from error

    async def look(self, prefixes: Collection[str]) -> Mapping[str, Mapping[str, int] | str]:
        """Return what files the runners of jobs have left, by the beginnings of their names, and how large they are.

        Where that cannot be seen, it is said why.

        Raises:
            SlurmUnreachableError: Nothing could be seen.
        """
        if self.is_here:
            return await asyncio.to_thread(look_here, prefixes)

        finished = await self.run(LOOK, "".join(f"{prefix}\n" for prefix in prefixes).encode())

        if finished.status != 0:
            words = finished.stderr.decode(errors="replace").strip()
            raise SlurmUnreachableError(f"cannot look at the files of jobs: {words}")

        return parse_look(prefixes, finished.stdout.decode(errors="replace"))

    def _connect(self, host: SSHHost) -> SSHConnection:
        # What SSH needs takes long to be imported, and on a login node nobody needs it.
        from covalent_core_ssh import SSHConnection, SSHDeniedError, SSHError

        self._lost, self._denied = (SSHError,), (SSHDeniedError,)
        return SSHConnection(host)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except self._lost as error:
            raise SlurmUnreachableError(str(error), refused=isinstance(error, self._denied)) from error


class LocalShell:
    """This machine as the login node, with what is needed of an `SSHConnection`."""

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
        """Let a file be at another place too.

        Raises:
            FileNotFoundError: There is no such file.
        """
        await asyncio.to_thread(_link, path, target)

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


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:
        # It is on another file system.
        shutil.copyfile(path, target)
