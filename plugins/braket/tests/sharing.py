"""One endpoint for all who run tests side by side: it lives as long as anybody holds the other end of its input."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aws.client import Endpoint
from probes import wait_until


@contextmanager
def shared_endpoint(folder: Path) -> Iterator[Endpoint]:
    """Give the endpoint of all who name the same folder; the first starts it, and it ends after the last."""
    folder.mkdir(exist_ok=True)

    with open(folder / "lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        holding = hold(folder)
        found = Endpoint(**json.loads((folder / "where").read_text()))

    try:
        yield found
    finally:
        os.close(holding)


def hold(folder: Path) -> int:
    """Return an end of the pipe that keeps the endpoint alive, which is started if it is not."""
    try:
        return os.open(folder / "users", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        # There is no pipe, or nobody reads it: the endpoint that was there has ended.
        return start(folder)


def start(folder: Path) -> int:
    for name in ("users", "where"):
        (folder / name).unlink(missing_ok=True)

    os.mkfifo(folder / "users", 0o600)
    # Who opens both ends waits for nobody.
    both = os.open(folder / "users", os.O_RDWR)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}

    with (
        open(folder / "where", "wb") as where,
        open(folder / "log", "wb") as log,
        open(folder / "users", "rb") as users,
    ):
        command = ["setsid", "--fork", sys.executable, "-m", "aws"]
        subprocess.run(command, stdin=users, stdout=where, stderr=log, env=environment, check=True)

    holding = os.open(folder / "users", os.O_WRONLY)
    os.close(both)
    wait_until(lambda: (folder / "where").read_text().endswith("\n"))
    return holding
