"""One endpoint for all who test at once: the first starts it, and it ends after the last, whatever ends them."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .client import HERE, Endpoint

#: How often it looks whether it has users.
SECONDS = 0.1


@contextmanager
def shared_endpoint(folder: Path) -> Iterator[Endpoint]:
    """Give the endpoint of all who name the same folder.

    Raises:
        AssertionError: It has not started.
    """
    folder.mkdir(parents=True, exist_ok=True)

    # The kernel gives the lock back also where a user is killed.
    with open(folder / "users", "ab") as users:
        with open(folder / "starting", "ab") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            # An endpoint that has begun to end holds this one until it has.
            fcntl.flock(users, fcntl.LOCK_SH)
            place = folder / "place"

            if not place.exists():
                _start(folder)

            endpoint = Endpoint(**json.loads(place.read_text()))

        yield endpoint


def _start(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", HERE.name, str(folder)]

    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )

    while not (folder / "place").exists():
        assert process.poll() is None, f"the endpoint has not started: {(folder / 'log').read_text()}"
        time.sleep(0.02)

    # Nobody waits for it; its end is not that of the one who has started it.
    process.returncode = 0


def announce_in(folder: Path, where: str) -> None:
    """Say where the endpoint is."""
    part = folder / "place.part"
    part.write_text(where)
    part.replace(folder / "place")


def wait_for_users(folder: Path) -> None:
    """Return when there are none; from then on a new one waits for the end of this process."""
    users = open(folder / "users", "ab")

    while True:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(SECONDS)
            continue

        (folder / "place").unlink()
        _until_the_end.append(users)
        return


#: What this process holds as long as it lives.
_until_the_end: list[object] = []
