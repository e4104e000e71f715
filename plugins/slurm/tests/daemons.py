"""The daemons of a Slurm cluster on this machine, kept by a process of their own.

They are munged, slurmctld and four slurmd, and for the accounting slurmdbd and its database: a mariadbd that knows no
users, and what it holds need not survive anything.

This file, run as a program, is their parent. It ends them when nobody holds a lock on the file ``users`` any more,
which the kernel sees to however somebody ends; and they end when it does.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pwd import getpwuid

from configuration import ACCOUNTING, CGROUP, CONFIG, DATABASE, NODE
from hurry import hurrying
from ports import HeldPort
from probes import processes_with, wait_until
from programs import find

PROJECT = Path(__file__).parents[1]

#: Without the commands that come with these.
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd")


class Daemons:
    """The daemons of a cluster, children of this process that end with it.

    Args:
        folder: Where it keeps all its files.
        hurried: Whether the controller hurries.
    """

    def __init__(self, folder: Path, *, hurried: bool = False) -> None:
        self._folder = folder
        self._config = folder / "slurm.conf"
        # The cgroups of a node have its name: two clusters on one machine must not share them.
        self._name = f"n{os.getpid()}x"
        self._nodes = [f"{self._name}{number}" for number in range(1, 5)]
        self._environment = {**os.environ, "SLURM_CONF": str(self._config)}
        self._ports = {name: HeldPort() for name in ("slurmctld", "slurmdbd", "mariadbd", *self._nodes)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._hurry = hurrying(folder) if hurried else {}
        self._configure()

    def _configure(self) -> None:
        # Root alone may have frozen cgroups; others have their processes found by their parents.
        has_cgroups = Path("/sys/fs/cgroup/freezer").exists() and os.getuid() == 0
        plugins = ("cgroup", "cgroup") if has_cgroups else ("linuxproc", "none")
        nodes = [NODE.format(name=name, port=self._ports[name].number) for name in self._nodes]
        values = {
            "name": self._name,
            "folder": self._folder,
            "user": getpwuid(os.getuid()).pw_name,
            "nodes": "\n".join(nodes),
            "controller": self._ports["slurmctld"].number,
            "accounting": self._ports["slurmdbd"].number,
            "database": self._ports["mariadbd"].number,
        }
        self._config.write_text(CONFIG.format(**values, proctrack=plugins[0], task=plugins[1]))
        accounting = self._folder / "slurmdbd.conf"
        accounting.touch(0o600)
        accounting.write_text(ACCOUNTING.format(**values))
        (self._folder / "cgroup.conf").write_text(CGROUP)
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

        for name in ("state", "database", "temporary", *(f"spool/{node}" for node in self._nodes)):
            (self._folder / name).mkdir(parents=True)

    def start(self) -> None:
        """Return when a job has run."""
        self.start_accounting()
        self.start_controller()

        for node in self._nodes:
            self._start(node, "slurmd", "-D", "-N", node)

        done = self._folder / "done"
        script = f"#!/bin/sh\ntouch {done}\n".encode()
        sbatch = ["sbatch", "--output=/dev/null"]
        subprocess.run(sbatch, input=script, env=self._environment, check=True)
        self._wait_until(done.exists)

    def start_accounting(self) -> None:
        """Return when it answers; what says who is who has been started for it."""
        names = {
            "key-file": "munge.key",
            "socket": "munge.socket.2",
            "pid-file": "munged.pid",
            "seed-file": "munge.seed",
            "log-file": "munged.log",
        }
        files = [f"--{option}={self._folder / name}" for option, name in names.items()]
        self._start("munged", "munged", "--foreground", "--force", *files)
        self._start_database()
        self._wait_until((self._folder / "munge.socket.2").exists)
        self._start("slurmdbd", "slurmdbd", "-D")
        self._wait_until(lambda: self._listens("slurmdbd"))

    def _start_database(self) -> None:
        # It removes the temporary tables of others that it finds as it starts.
        places = {
            "datadir": "database",
            "tmpdir": "temporary",
            "socket": "mariadbd.socket",
            "pid-file": "mariadbd.pid",
        }
        files = [f"--{option}={self._folder / name}" for option, name in places.items()]
        user = ["--user=root"] if os.getuid() == 0 else []
        self._start("mariadbd", "mariadbd", *DATABASE, *files, *user, f"--port={self._ports['mariadbd'].number}")
        self._wait_until(lambda: self._listens("mariadbd"))

    def _listens(self, name: str) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._ports[name].number), 1):
            return True

        return False

    def start_controller(self, *, afresh: bool = False) -> None:
        """Return when it answers.

        Args:
            afresh: It forgets all jobs.
        """
        self._start("slurmctld", "slurmctld", "-D", *(["-c"] if afresh else []), **self._hurry)

        def answers() -> bool:
            ping = subprocess.run(["scontrol", "ping"], env=self._environment, capture_output=True, text=True)
            return ping.stdout.strip().endswith("is UP")

        self._wait_until(answers)

    def _wait_until(self, condition: Callable[[], object]) -> None:
        """Return when a condition holds; say what the daemons have said if it does not, or one of them has ended."""

        def ended() -> list[str]:
            return [name for name, daemon in self._daemons.items() if daemon.poll() is not None]

        with suppress(AssertionError):
            wait_until(lambda: condition() or ended())

        if not condition():
            problem = f"ended: {', '.join(ended())}" if ended() else "not ready within 30 s"
            said = "\n".join(map(self._said, ended() or self._daemons))
            raise RuntimeError(f"the daemons of the cluster: {problem}\n{said}")

    def _said(self, name: str) -> str:
        files = [self._folder / f"{name}.{kind}" for kind in ("out", "log")] + [self._folder / f"slurmd.{name}.log"]
        words = [file.read_text(errors="replace")[-2000:] for file in files if file.exists()]
        return f"{name} said:\n{''.join(words)}"

    def stop_controller(self) -> None:
        """Let it save its state and end."""
        self._stop("slurmctld")

    def stop(self) -> None:
        for name in ("slurmctld", *self._nodes, "slurmdbd", "mariadbd", "munged"):
            if name in self._daemons:
                self._stop(name)

        for port in self._ports.values():
            port.close()

    def _start(self, name: str, program: str, *arguments: str, **variables: str) -> None:
        environment = {**self._environment, **variables}

        with open(self._folder / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                [str(find(program)), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=end_with_parent,
            )  # fmt: skip

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(signal.SIGTERM)

        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent has died; and let Control-C pass by."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """While this lasts, nobody else starts or ends the cluster."""
    with open(folder / "starting", "ab") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def is_used(folder: Path) -> bool:
    """Return whether another process holds the lock of the users; one of this process is gone afterwards."""
    asked = struct.pack("hhlli", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

    # The list of all locks would not do: what is read of it in several parts may leave some out.
    with open(folder / "users", "ab") as users:
        return struct.unpack("hhlli", fcntl.fcntl(users, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK


def main(folder: Path, *, hurried: bool) -> None:
    """Keep a cluster as long as it is used; leave a file ``failed`` that says why if that is not possible."""
    try:
        keep_cluster(folder, hurried=hurried)
    except BaseException:
        (folder / "failed.part").write_text(traceback.format_exc())
        (folder / "failed.part").rename(folder / "failed")
        raise


def keep_cluster(folder: Path, *, hurried: bool) -> None:
    """Start a cluster, and stop it when it is not used any more; start and stop its controller as ordered."""
    # The path of a socket may have 108 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        place, order = Path(name), Path(name, "order")
        (place / "keeper").write_text(str(os.getpid()))
        daemons = Daemons(place, hurried=hurried)

        try:
            daemons.start()
            (folder / "place.part").write_text(name)
            (folder / "place.part").rename(folder / "place")

            while not ends(folder):
                time.sleep(0.1)

                if order.exists():
                    carry_out(order.read_text(), daemons)
                    order.unlink()
        finally:
            daemons.stop()
            # Jobs that nobody has waited for, and the dispatchers that would.
            for pid in processes_with("SLURM_CONF", f"{name}/slurm.conf"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def carry_out(order: str, daemons: Daemons) -> None:
    if order == "stop":
        daemons.stop_controller()
    else:
        daemons.start_controller(afresh=order == "start afresh")


def ends(folder: Path) -> bool:
    """Return whether nobody uses it any more; then nobody can begin to use it either."""
    if is_used(folder):
        return False

    with starting(folder):
        if is_used(folder):
            return False

        (folder / "place").unlink()
        return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), hurried="hurried" in sys.argv[2:])
