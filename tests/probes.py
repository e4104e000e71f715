"""Independent looks at this machine: what is alive, and what holds the dispatcher where a test wants it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether a process lives. A zombie is dead: it only waits for its parent to look."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False

    return state not in "ZX"


def processes_with(variable: str, value: str) -> list[int]:
    """Return the live processes that were started with an environment variable."""
    wanted = f"{variable}={value}".encode()
    found = []

    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))

    return [pid for pid in found if alive(pid)]


def processes_of(home: Path) -> list[int]:
    """Return the live processes of a home: its dispatcher, and everything below it."""
    return processes_with("COVALENT_CORE_HOME", str(home))


def dispatchers_of(home: Path) -> list[int]:
    """Return the live dispatchers of a home."""
    return [pid for pid in processes_of(home) if "serve" in arguments_of(pid) and "--idle-seconds" in arguments_of(pid)]


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process, empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")

    return []


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds

    while not condition():
        assert time.monotonic() < deadline, f"did not come about within {seconds} s"
        time.sleep(0.002)


class Stops:
    """The named stops of the dispatcher, from the outside: files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def take(self, name: str) -> None:
        """Let the dispatcher wait at a stop from now on."""
        (self.folder / name).touch()

    def wait(self, name: str) -> None:
        """Return when the dispatcher waits at a stop."""
        wait_until((self.folder / f"{name}.reached").exists)

    def leave(self, name: str) -> None:
        """Let the dispatcher go on, and not wait there again."""
        (self.folder / name).unlink()
