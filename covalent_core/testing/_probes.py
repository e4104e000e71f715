"""Independent looks: at the processes of this machine, and at a dispatcher that a test holds where it wants it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from covalent_core._client import spawn
from covalent_core._home import Home
from covalent_core._lock import is_served

#: The ticket of any job.
TICKET = re.compile(r"\bct-[0-9a-f]{32}-\d+-\d+\b")


def start_time(pid: int) -> str | None:
    """Return the start time of a live process. A zombie is dead: it only waits for its parent to look."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None

    return None if state in "ZX" else fields[18]


def alive(pid: int) -> bool:
    """Return whether a process lives."""
    return start_time(pid) is not None


def _numbers() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


def processes_with(variable: str, value: str) -> list[int]:
    """Return the live processes that were started with an environment variable."""
    wanted = f"{variable}={value}".encode()
    found = []

    for pid in _numbers():
        with suppress(OSError):
            content = Path(f"/proc/{pid}/environ").read_bytes()

            # To take apart what holds nothing of it takes longer than to look.
            if wanted in content and wanted in content.split(b"\0"):
                found.append(pid)

    return [pid for pid in found if alive(pid)]


def processes_about(ticket: str) -> list[int]:
    """Return the live processes that have a job's ticket in their command line or in the path of their directory."""
    found = []

    for pid in _numbers():
        with suppress(OSError):
            if ticket in os.readlink(f"/proc/{pid}/cwd") or ticket in " ".join(arguments_of(pid)):
                found.append(pid)

    return [pid for pid in found if alive(pid)]


def alive_in_any_namespace(ticket: str, noted: list[str]) -> list[str]:
    """Return what is alive of a job whose tasks may have process ids of their own, as in containers of this machine.

    A noted process is known by its number in any PID namespace together with its start time, which is the same in all
    of them, unless it says that it is of another job: containers that start together have the same numbers. What else
    is found has the job's ticket in its command line, in its environment or in the path of its directory.

    Args:
        noted: What tasks have noted of themselves and of their children, each as ``<process id>.<start time>``.
    """
    wanted, found = set(noted), set()

    for pid in _numbers():
        with suppress(OSError):
            said, names = _said_of(pid), {f"{n}.{start_time(pid)}" for n in _numbers_in_namespaces(pid)}

            if ticket in said and alive(pid):
                found.add(f"{pid}.{start_time(pid)}")

            if ticket in said or not TICKET.search(said):
                found |= wanted & names

    return sorted(found)


def _said_of(pid: int) -> str:
    """Return where a process can say to which job it belongs: its environment, its command line, its directory."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return "\n".join([environment, *arguments_of(pid), os.readlink(f"/proc/{pid}/cwd")])


def _numbers_in_namespaces(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("NSpid:")).split()[1:]


def processes_of(home: Path) -> list[int]:
    """Return the live processes of a home: its dispatcher, and everything below it."""
    below = processes_with("COVALENT_CORE_HOME", str(home))
    return sorted({*below, *(pid for pid in _started() if alive(pid))})


def dispatchers_of(home: Path) -> list[int]:
    """Return the live dispatchers of a home."""
    return [pid for pid in processes_of(home) if pid in _started() or "--idle-seconds" in arguments_of(pid)]


def _started() -> list[int]:
    return [started.process.pid for started in spawn._started.values()]


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process, empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")

    return []


def wait_until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    deadline, pause = time.monotonic() + seconds, 0.005

    while not condition():
        assert time.monotonic() < deadline, f"did not come about within {seconds} s"
        time.sleep(pause)
        pause = min(pause * 1.1, 0.05)


def kill(pids: Iterable[int]) -> None:
    """Kill processes, those that are gone already too."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_all(look: Callable[[], list[int]]) -> None:
    """Kill what is found, until nothing is found any more."""
    while found := look():
        kill(found)
        # To ask for each of them is quick; to look for all is not.
        wait_until(partial(_none_lives, found))


def _none_lives(pids: Iterable[int]) -> bool:
    return not any(map(alive, pids))


def kill_dispatcher(home: Path) -> None:
    """Kill the dispatcher of a home; return when it is dead."""
    kill_all(lambda: dispatchers_of(home))
    # Its main thread may be dead a moment before the thread that lets go of the lock.
    wait_until(lambda: not is_served(Home(home)))

    for started in spawn._started.values():
        started.process.wait()


@contextmanager
def ending(home: Path) -> Iterator[None]:
    """At the end of this, end the dispatcher of a home and everything that was started below it."""
    try:
        yield
    finally:
        kill_all(lambda: processes_of(home))

        for started in spawn._started.values():
            started.process.wait()

        spawn._started.clear()


@dataclass(frozen=True)
class Call:
    """A hook was called, or has answered, according to the dispatcher's own record.

    Attributes:
        event: ``called``, ``returned`` or ``raised``.
        pid: The dispatcher.
        answer: What it returned, if that is a text.
    """

    hook: str
    event: str
    ticket: str
    time: float
    pid: int
    job_handle: str | None = None
    answer: str | None = None
    error: str | None = None


class Stops:
    """The named stops of the dispatcher, and its record of calls, from the outside: files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def take(self, name: str) -> None:
        """Let the dispatcher wait at a stop from now on."""
        (self.folder / name).touch()

    def wait(self, name: str, seconds: float = 90.0) -> None:
        """Return when the dispatcher waits at a stop."""
        wait_until((self.folder / f"{name}.reached").exists, seconds)

    def leave(self, name: str) -> None:
        """Let the dispatcher go on, and not wait there again."""
        (self.folder / name).unlink()

    def fail(self, hook: str, *faults: str) -> None:
        """Let the next calls of a hook meet with faults of the backend, or with none any more.

        Args:
            faults: unreachable, away, refused, lost or twice; a last ``...`` lets the one before it hold.
        """
        part = self.folder / f"part-{hook}"
        part.write_text("\n".join(faults))
        part.rename(self.folder / f"fault-{hook}")

    def clear(self) -> None:
        """Let the dispatcher wait nowhere any more, and no call meet with a fault."""
        for file in self.folder.iterdir():
            if file.name != "calls":
                file.unlink(missing_ok=True)

    def calls(self) -> list[Call]:
        """Return what has been written down until now."""
        file = self.folder / "calls"
        return [Call(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
