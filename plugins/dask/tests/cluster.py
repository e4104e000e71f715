"""A real Dask cluster as the tests see it: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import daemons
from ports import HeldPort
from probes import alive, wait_until

#: So many guardians fit into a worker where a test does not say otherwise.
THREADS = 32


class Cluster:
    """A scheduler and its workers.

    Attributes:
        address: Where the scheduler listens.
        pids: The processes, by name; of a worker with a nanny, the nanny's.
    """

    def __init__(self, folder: Path, tls: dict[str, str] | None = None, **config: Any) -> None:
        self.folder = folder
        self.config = config
        self.pids: dict[str, int] = {}
        self._port = HeldPort()
        self.tls = tls or {}
        self._tls = [part for name, file in self.tls.items() for part in (f"--{name.replace('_', '-')}", file)]
        self.address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self._port.number}"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, threads: int = THREADS) -> None:
        """Start the scheduler and two workers, one with a nanny and one without."""
        self.start_scheduler()
        self.start_worker("plain", threads=threads)
        self.start_worker("nannied", threads=threads, nanny=True)
        self.wait_for_workers(2)

    def start_scheduler(self) -> None:
        place = ["--host", self.address.rpartition(":")[0], "--port", str(self._port.number)]
        self._start("scheduler", "scheduler", *place, "--no-dashboard", *self._tls)

    def start_worker(
        self, name: str, *arguments: str, threads: int = THREADS, nanny: bool = False, **place: Any
    ) -> None:
        """Start a worker.

        Args:
            place: What it is to be like, as `daemons` takes it: ``host``, ``hide``, ``path``.
        """
        options = ["--name", name, "--nthreads", str(threads), "--nanny" if nanny else "--no-nanny", "--no-dashboard"]
        options += ["--host", self.address.rpartition(":")[0], "--local-directory", str(self.folder / "scratch")]
        options += [] if "--memory-limit" in arguments else ["--memory-limit", "0"]
        self._start(name, "worker", self.address, *options, *self._tls, *arguments, **place)

    def wait_for_workers(self, count: int) -> None:
        """Return when so many workers are there, and no more."""
        with self.client() as client:
            wait_until(lambda: len(client.nthreads()) == count)

    def worker_pids(self) -> dict[str, int]:
        """Return the processes of the workers themselves, by name."""
        with self.client() as client:
            names = {address: worker["name"] for address, worker in client.scheduler_info()["workers"].items()}
            return {names[address]: pid for address, pid in client.run(os.getpid).items()}

    def ask(self, question: Any) -> Any:
        """Return what a function inside of a function gives, which the scheduler calls with itself."""
        with self.client() as client:
            return client.run_on_scheduler(question)

    @contextmanager
    def client(self) -> Iterator[Any]:
        from distributed import Client, Security

        names = {"tls_ca_file": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
        security = Security(**{names[name]: file for name, file in self.tls.items()}) if self.tls else None

        with warnings.catch_warnings():
            # That versions differ is what a test may be about.
            warnings.simplefilter("ignore")

            with Client(self.address, timeout=20, set_as_default=False, security=security) as client:
                yield client

    def signal(self, name: str, signum: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pids[name], signum)

    def kill(self, name: str) -> None:
        """Return when a daemon is dead."""
        self.signal(name, signal.SIGKILL)
        wait_until(lambda: not alive(self.pids[name]))

    def stop(self) -> None:
        for name in self.pids:
            for pid in [*below(self.pids[name]), self.pids[name]]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        self._port.close()

    def said(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in self.folder.glob("*.log"))

    def _start(self, name: str, program: str, *arguments: str, **place: Any) -> None:
        order = {
            "program": program,
            "arguments": arguments,
            "log": str(self.folder / f"{name}.log"),
            "config": self.config,
            "host": "",
            "hide": "",
            "path": "",
            **place,
        }
        source = _source(os.getpid())
        assert source.stdin is not None
        assert source.stdout is not None
        source.stdin.write(json.dumps(order) + "\n")
        source.stdin.flush()
        self.pids[name] = int(source.stdout.readline())


def below(pid: int) -> list[int]:
    """Return the processes below another, as far as they are in its session or its children."""
    found: list[int] = []

    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]

    return found


def kill(pids: list[int], signum: int = signal.SIGKILL) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


@cache
def _source(owner: int) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVALENT_CORE_")}
    command = [sys.executable, str(daemons.__file__)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@contextmanager
def shared_cluster(folder: Path) -> Iterator[str]:
    """Give the address of the cluster of all who name the same folder; the first keeps it until all have done."""
    folder.mkdir(exist_ok=True)
    place, kept = folder / "place", None

    with open(folder / "users", "ab+") as users:
        with open(folder / "starting", "ab") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)

            if not place.exists():
                kept = Cluster(folder / "daemons")
                kept.start()
                place.write_text(kept.address)

        try:
            yield place.read_text()
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)

            if kept is not None:
                wait_until(lambda: _is_free(folder), 600)
                kept.stop()


def _is_free(folder: Path) -> bool:
    time.sleep(0.1)

    with open(folder / "users", "ab+") as users, suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True

    return False


def ours(cluster: Cluster) -> dict[str, list[str]]:
    """Return what a scheduler has of us."""

    def look(dask_scheduler: Any) -> dict[str, list[str]]:
        return {
            "tasks": [key for key in dask_scheduler.tasks if "ct-" in str(key)],
            "variables": list(dask_scheduler.extensions["variables"].variables),
            "queues": list(dask_scheduler.extensions["queues"].queues),
            "clients": [name for name in dask_scheduler.clients if name.startswith("variable-")],
        }

    found: dict[str, list[str]] = cluster.ask(look)
    return found
