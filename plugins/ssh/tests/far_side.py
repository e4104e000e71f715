"""A real sshd for the tests, and a line to it that a test can cut."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path

from ports import HeldPort
from probes import kill, processes_with, wait_until
from programs import find, need

from covalent_core._runner.processes import children

PROJECT = Path(__file__).parents[1]

CONFIG = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
TrustedUserCAKeys {folder}/authority.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 200:30:400
MaxSessions 2
LogLevel VERBOSE
Subsystem sftp internal-sftp
SetEnv HOME={folder}/home SHLVL=2 FAR_SIDE={folder}
"""


class FarSide:
    """An sshd with keys and a home directory of its own.

    Args:
        inside: The command in front of that of the sshd, which gives it surroundings of its own.
        config: Its configuration, if that is another one.

    Attributes:
        home: The home directory of whoever logs in.
        key: The private key that it lets in; `wrong_key` is one that it does not.
        authority: The key whose signature makes any other key one that it lets in.
        known_hosts: A file with its host key.
    """

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        port: int | None = None,
        inside: Sequence[str] = (),
        config: str | None = None,
    ) -> None:
        self.folder = folder
        self._config = config or CONFIG
        self.address = address
        self._inside = inside
        self.home = folder / "home"
        self.home.mkdir()
        self.key, self.wrong_key, host_key = folder / "key", folder / "wrong_key", folder / "host_key"
        self.authority = folder / "authority"
        self.known_hosts, self.log = folder / "known_hosts", folder / "sshd.log"

        for path in (self.key, self.wrong_key, self.authority, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

        shutil.copy(f"{self.key}.pub", folder / "authorized_keys")
        self._held = HeldPort() if port is None else None
        self.port = port or self._held.number
        self._sshd: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(self._config.format(address=self.address, port=self.port, folder=self.folder))

        if os.getuid() == 0:
            # Where sshd puts its unprivileged part; Debian's service makes it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

        # It is not one of those that end with the test in which it happens to be started.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVALENT_CORE_")}
        command = [*self._inside, str(find("sshd")), "-D", "-f", config, "-e"]

        with open(self.log, "wb") as log:
            self._sshd = sshd = subprocess.Popen(command, env=environment, stderr=log)

        wait_until(lambda: "Server listening" in self.log.read_text() or sshd.poll() is not None)

        if sshd.poll() is not None:
            said = self.log.read_text()
            raise RuntimeError(f"sshd ended instead of listening at {self.address}:{self.port}; it said: {said}")

    def trust(self, port: int) -> None:
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        place = self.address if port == 22 else f"[{self.address}]:{port}"
        self.known_hosts.write_text(f"{place} {kind} {key}\n")

    def processes(self) -> list[int]:
        """Return all that lives of what was started through this sshd."""
        return processes_with("FAR_SIDE", str(self.folder))

    def runners(self) -> list[int]:
        """Return those of them that belong to jobs."""
        idle = set(processes_with("COVALENT_CORE_SUPERVISOR", "0" * 32))
        tagged = [pid for pid in self.processes() if b"COVALENT_CORE_SUPERVISOR=" in environment_of(pid)]
        return [pid for pid in tagged if pid not in idle]

    def logins(self) -> int:
        return self.log.read_text().count("Accepted publickey")

    def files(self) -> list[str]:
        """Return what is left in the home directory, the folder for all jobs aside."""
        found = sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))
        return [path for path in found if path != "covalent-workdir"]

    def clear(self) -> None:
        """Remove what a test has left, so that the next one does not answer for it."""
        for pid in self.runners():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

        shutil.rmtree(self.home / "covalent-workdir", ignore_errors=True)

    def stop(self) -> None:
        # As when the power fails, nobody lives to say of another that it has ended.
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

        if self._sshd is not None:
            # With those of its connections, through which a client could start something anew.
            connections = children(self._sshd.pid)
            self._sshd.kill()
            self._sshd.wait()
            self._sshd = None
            kill(connections)

        kill(self.processes())
        wait_until(lambda: not self.processes())

        if self._held is not None:
            self._held.close()


class Line:
    """A TCP line to a port, in a thread of its own, that can be cut, frozen and mended.

    Attributes:
        port: Where it begins.
        connections: How many connections have been made through it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._open = True
        self.connections = 0
        self.forwarded = 0
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop all connections and make no new ones."""
        self._do(self._cut())

    def freeze(self) -> None:
        """Forward nothing more, and say so to nobody: the half-open line of a machine that has vanished.

        What is frozen never thaws; once the line is mended, new connections work.
        """
        self._do(self._freeze())

    def mend(self) -> None:
        """Make connections again, and forward."""
        self._do(self._mend())

    def cut_after(self, count: int) -> None:
        """Cut it once so many more bytes have been forwarded."""
        self._cut_at = self.forwarded + count

    def freeze_after(self, count: int) -> None:
        """Freeze it once so many more bytes have been forwarded."""
        self._freeze_at = self.forwarded + count

    _cut_at = _freeze_at = float("inf")

    @property
    def is_cut(self) -> bool:
        return not self._open

    def close_port(self) -> None:
        """Let nobody listen there any more."""
        self._do(self._close())

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> None:
        self._open = False
        self._drop()

    def _drop(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _freeze(self) -> None:
        self._flows.clear()

    async def _mend(self) -> None:
        self._open = True
        self._cut_at = self._freeze_at = float("inf")
        self._flows = asyncio.Event()
        self._flows.set()

    async def _close(self) -> None:
        self._server.close()
        self._drop()

        for task in self._tasks:
            task.cancel()

        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return

        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {writer, far_writer}

        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.ensure_future(self._forward(source, target, self._flows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        with suppress(OSError):
            while content := await source.read(65536):
                await flows.wait()
                self.forwarded += len(content)

                if self.forwarded >= self._cut_at:
                    self._cut_at = float("inf")
                    await self._cut()

                if self.forwarded >= self._freeze_at:
                    await self._freeze()

                target.write(content)
                await target.drain()

        target.close()
        self._ends.discard(target)


def environment_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()

    return b""


@contextmanager
def far_with(folder: Path, changes: Mapping[str, str], inside: Sequence[str] = ()) -> Iterator[FarSide]:
    """Give an sshd of one's own with another configuration.

    Args:
        changes: What is replaced in it, and by what.
    """
    folder.mkdir()
    config = CONFIG

    for old, new in changes.items():
        assert old in config
        config = config.replace(old, new)

    far = FarSide(folder, inside=inside, config=config)

    try:
        yield far
    finally:
        far.stop()


@contextmanager
def running_far_side(folder: Path) -> Iterator[FarSide]:
    need(PROJECT, "sshd")
    far = FarSide(folder)

    try:
        yield far
    finally:
        far.stop()


def options_for(far: FarSide, port: int) -> dict[str, object]:
    """Return how to reach it."""
    far.trust(port)
    return {
        "hostname": far.address,
        "port": port,
        "username": getuser(),
        "ssh_key_file": str(far.key),
        "known_hosts": str(far.known_hosts),
    }
