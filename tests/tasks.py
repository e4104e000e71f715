"""Tasks that note in files what they do, and what can be seen from outside of those that run them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from probes import alive, wait_until

import covalent_core as ct
from covalent_core._home import find_home
from covalent_core._store.store import Store


@ct.electron
def quick(folder: Path, name: str, *needs: Any) -> str:
    """Note the process, write a line to each output, and return the name."""
    note(folder, name)
    print(f"{name} prints")
    print(f"{name} warns", file=sys.stderr)
    return name


@ct.electron
def held(folder: Path, name: str, *needs: Any) -> str:
    """Start a process in a session of its own, note both, and wait until `let_go`."""
    return hold(folder, name)


@ct.electron
def failing(folder: Path, name: str, times: int = 1_000_000, *needs: Any) -> str:
    """Fail as often as it is said, then return the name."""
    note(folder, name)

    if len(Path(folder, name).read_text().splitlines()) <= times:
        print(f"{name} prints")
        raise ValueError(f"{name} is not well")

    return name


@ct.electron
def gather(*values: Any) -> tuple[Any, ...]:
    return values


def hold(folder: Path, name: str) -> str:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    note(folder, name, child.pid)

    while not Path(folder, f"{name}.go").exists():
        time.sleep(0.002)

    child.kill()
    child.wait()
    return name


def note(folder: Path, name: str, *pids: int) -> None:
    with open(Path(folder, name), "a") as file:
        file.write(" ".join(map(str, [os.getpid(), *pids])) + "\n")


def let_go(folder: Path, *names: str) -> None:
    """Let tasks end that are `held`, now or later."""
    for name in names:
        (folder / f"{name}.go").touch()


def runs(folder: Path, name: str) -> int:
    """Return how often a task has begun."""
    file = folder / name
    return len(file.read_text().splitlines()) if file.exists() else 0


def tree(folder: Path, name: str) -> list[int]:
    """Return the processes of a task, when it has begun."""
    wait_until(lambda: runs(folder, name))
    return [int(pid) for pid in (folder / name).read_text().split()]


def any_alive(pids: list[int]) -> bool:
    return any(alive(pid) for pid in pids)


def calls(result: ct.Result) -> list[int]:
    """Return the nodes that are no parameters, in the order in which the lattice made them."""
    return [node_id for name, node_id in result.nodes() if not name.startswith(":parameter:")]


def node_named(result: ct.Result, name: str) -> int:
    """Return the first node whose name begins so."""
    return next(node_id for shown, node_id in result.nodes() if shown.startswith(name))


def statuses(result: ct.Result) -> list[ct.Status]:
    """Return the statuses of these nodes."""
    return [result.get_node_result(node_id)["status"] for node_id in calls(result)]


def jobs_of(dispatch_id: str) -> dict[str, list[int]]:
    """Return the nodes of each job that there has ever been, in their order."""
    found: dict[str, list[int]] = {}

    for row in Store(find_home()).get_jobs(dispatch_id):
        found.setdefault(row.ticket, []).append(row.node_id)

    return found


def status_of(dispatch_id: str, node_id: int) -> ct.Status:
    status: ct.Status = ct.get_result(dispatch_id).get_node_result(node_id)["status"]
    return status


def finished(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True, timeout=60)
