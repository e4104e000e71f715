"""One SSH connection to a host, shared by all that need it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias

import asyncssh

from covalent_core.backend import Opening
from covalent_core_ssh._host_keys import FirstUse
from covalent_core_ssh.errors import SSHDeniedError, SSHError, SSHLineLostError, SSHRefusedError, SSHUnreachableError
from covalent_core_ssh.host import Finished, SSHHost

#: An IP address and a port.
Address: TypeAlias = tuple[str, int]

#: Sessions at once over one connection; a server allows 10 unless its MaxSessions says otherwise.
MAX_SESSIONS = 8

#: How many unanswered keepalive messages make a line dead.
KEEPALIVE_COUNT = 3

#: Bytes between two reports of progress.
CHUNK = 2**20

_SFTP_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)


class SSHConnection:
    """A connection that is made when it is first needed, kept alive, and made again when it was lost.

    Args:
        address: Where the host is, instead of where its name leads.

    All methods raise `SSHUnreachableError` if there is no connection and none can be made, `SSHRefusedError` if the
    host does not let us in, and `SSHLineLostError` if the connection is lost in the middle; each names the host.
    """

    def __init__(self, host: SSHHost, address: Address | None = None) -> None:
        self.host = host
        self._address = address
        # One session is that of SFTP, which all transfers share.
        self._sessions = asyncio.Semaphore(MAX_SESSIONS - 1)
        self._line = Opening(self._connect, lambda line: not line.is_closed(), first_pause=host.retry_wait_time)
        self._files = Opening(self._open_files, self._serves)
        self._files_line: asyncssh.SSHClientConnection | None = None

    async def run(self, command: str, input: bytes | None = None) -> Finished:
        """Run a command in the user's login shell and return how it ended."""
        async with self.process(command) as process:
            with self.while_doing("running a command"):
                if not input:
                    # Without it who reads would wait for ever.
                    process.stdin.write_eof()

                stdout, stderr = await process.communicate(input)

            if process.exit_status is None:
                raise SSHLineLostError(f"the line to {self.host.place} was lost while running a command")

            return Finished(process.exit_status, stdout or b"", stderr or b"")

    @asynccontextmanager
    async def process(self, command: str) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        """Give a session in which a command runs; at the end it is closed, which does not end the command."""
        async with self._sessions:
            line = await self._opened()

            with self.while_doing("opening a session"):
                process = await line.create_process(command, encoding=None)

            try:
                yield process
            finally:
                process.close()

    @contextmanager
    def while_doing(self, doing: str) -> Iterator[None]:
        """Translate the many ways in which asyncssh says that the line is gone, for whoever uses a `process`."""
        try:
            yield
        except (asyncssh.DisconnectError, *_SFTP_LOST, OSError) as error:
            self._files_line = None
            raise SSHLineLostError(f"the line to {self.host.place} was lost while {doing}: {error}") from error
        except asyncssh.ChannelOpenError as error:
            if self._line.value is None:
                raise SSHLineLostError(f"the line to {self.host.place} was lost while {doing}: {error}") from error

            raise SSHRefusedError(
                f"{self.host.place} refused a session while {doing}: {error}; its MaxSessions may be below the "
                f"{MAX_SESSIONS} that are used at once"
            ) from error

    async def put(
        self, content: bytes | memoryview, path: str, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Write a file; when this returns, it is there as a whole. It is readable for its owner alone.

        Raises:
            SSHRefusedError: It cannot be written there.
        """
        files = await self._opened_files()
        # A name of its own: a connection that is long lost may still be writing to the last one.
        part = f"{path}.{os.urandom(4).hex()}"

        with self.while_doing(f"writing {path}"):
            try:
                async with files.open(part, "wb", asyncssh.SFTPAttrs(permissions=0o600)) as file:
                    for begin in range(0, len(content), CHUNK):
                        await file.write(bytes(content[begin : begin + CHUNK]))
                        _report(progress, min(begin + CHUNK, len(content)), len(content))

                await files.posix_rename(part, path)
            except _SFTP_LOST:
                raise
            except asyncssh.SFTPError as error:
                raise await self._refused_file(files, path, len(content), error) from error

    async def get(self, path: str, target: str, progress: Callable[[int, int], None] | None = None) -> None:
        """Read a file into a local one.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The local one cannot be written.
        """
        files = await self._opened_files()

        def report(source: bytes, copy: bytes, done: int, total: int) -> None:
            _report(progress, done, total)

        with self._told_apart(path):
            await files.get(path, target, block_size=CHUNK, progress_handler=report)

    async def drop(self) -> None:
        """Take the connection for lost, whatever it says of itself."""
        if (line := self._line.value) is not None:
            line.abort()
            await line.wait_closed()

    @property
    def address(self) -> Address | None:
        """Where the host is, while there is a connection to it without another host between."""
        line = self._line.value
        name, port, *_ = (line and line.get_extra_info("peername")) or ("", 0)
        return (name, port) if name else None

    async def close(self) -> None:
        """Leave the host."""
        self._files.close()
        self._line.close()

        if (line := self._line.value) is not None:
            line.close()
            await line.wait_closed()

    # --- the connection ------------------------------------------------------------------------------------------

    async def _opened(self) -> asyncssh.SSHClientConnection:
        """Return the connection. The attempts of one outage are counted together, whoever asks for them."""
        while True:
            try:
                return await self._line.get()
            except SSHUnreachableError as error:
                if self._line.failures >= self.host.attempts:
                    raise SSHUnreachableError(f"{error} (attempt {self._line.failures})") from error

    async def _opened_files(self) -> asyncssh.SFTPClient:
        await self._opened()
        return await self._files.get()

    async def _open_files(self) -> asyncssh.SFTPClient:
        line = await self._opened()

        with self.while_doing("opening an SFTP session"):
            files = await line.start_sftp_client()

        self._files_line = line
        return files

    def _serves(self, files: asyncssh.SFTPClient) -> bool:
        return self._files_line is not None and self._files_line is self._line.value

    @contextmanager
    def _told_apart(self, path: str) -> Iterator[None]:
        """Tell what is wrong with a file there from what is wrong with the line, and with the disk here."""
        try:
            yield
        except OSError:
            raise
        except asyncssh.SFTPNoSuchFile as error:
            raise FileNotFoundError(f"there is no file {path} on {self.host.place}") from error
        except (asyncssh.DisconnectError, *_SFTP_LOST):
            with self.while_doing(f"reading {path}"):
                raise
        except asyncssh.SFTPError as error:
            raise SSHError(f"cannot read {path} on {self.host.place}: {error.reason}") from error

    async def _connect(self) -> asyncssh.SSHClientConnection:
        host = self.host

        with _explained(host):
            sock = await _socket_to(self._address, host.connect_timeout) if self._address else None
            return await asyncssh.connect(
                host.hostname,
                keepalive_interval=host.keepalive_interval,
                keepalive_count_max=KEEPALIVE_COUNT,
                connect_timeout=host.connect_timeout,
                sock=sock,
                **_given(host),
            )

    async def _refused_file(
        self, files: asyncssh.SFTPClient, path: str, size: int, error: asyncssh.SFTPError
    ) -> Exception:
        """Say why a file could not be written: the protocol itself has no word for a full disk."""
        reason = error.reason

        with suppress(asyncssh.SFTPError):
            space = await files.statvfs(os.path.dirname(path))

            if space.bavail * space.frsize < size:
                reason = f"no space left on the disk, {space.bavail * space.frsize} bytes free of {size} needed"

        return SSHRefusedError(f"cannot write {path} on {self.host.place}: {reason}")


async def _socket_to(address: Address, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.setblocking(False)

    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, address), seconds)
    except BaseException:
        sock.close()
        raise

    return sock


def _given(host: SSHHost) -> dict[str, Any]:
    """Return what the user has set: all else is for asyncssh to find as SSH does."""
    given: dict[str, Any] = {"username": host.username, "port": host.port}

    if host.known_hosts:
        given["known_hosts"] = os.path.expanduser(host.known_hosts)

    if host.ssh_key_file:
        given["client_keys"] = [os.path.expanduser(host.ssh_key_file)]

    if host.cert_file:
        given["client_certs"] = [os.path.expanduser(host.cert_file)]

    if host.accept_unknown_host:
        policy = FirstUse(host.known_hosts)
        given |= {"known_hosts": policy.match, "client_factory": policy.client}

    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _explained(host: SSHHost) -> Iterator[None]:
    """Say what a failed attempt to connect means, and what to do."""
    key = f"ssh_key_file {host.ssh_key_file!r}" + (f" and cert_file {host.cert_file!r}" if host.cert_file else "")

    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise SSHDeniedError(
            f"the host key of {host.place} is not the one in {host.known_hosts or '~/.ssh/known_hosts'}, or not there "
            f"at all ({error.reason}); compare it with what the administrator says and add it with ssh-keyscan, or set "
            f"accept_unknown_host=True to trust a host that is seen for the first time"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise SSHDeniedError(
            f"{host.place} does not let us in with {key if host.ssh_key_file else 'the SSH agent and the default keys'}"
            f": {error.reason}; see whether this works: {_ssh_command(host)}"
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SSHRefusedError(f"{key} cannot be used: {error}; give it to the SSH agent with ssh-add") from error
    except FileNotFoundError as error:
        raise SSHRefusedError(f"{key} cannot be used: there is no file {error.filename}") from error
    except socket.gaierror as error:
        raise SSHUnreachableError(f"there is no host {host.hostname!r}: {error.strerror}; check hostname") from error
    except asyncio.TimeoutError as error:
        raise SSHUnreachableError(f"{host.place} gave no answer within {host.connect_timeout:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise SSHUnreachableError(f"cannot reach {host.place}: {error}") from error


def _ssh_command(host: SSHHost) -> str:
    key = f" -i {host.ssh_key_file}" if host.ssh_key_file else ""
    port = f" -p {host.port}" if host.port else ""
    user = f"{host.username}@" if host.username else ""
    return f"ssh{key}{port} {user}{host.hostname} true"


def _report(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
