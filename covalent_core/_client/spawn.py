"""What a client does so that a dispatcher lives and looks: start one, ring the bell."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from covalent_core._detached import DetachedProcess
from covalent_core._home import Home, open_private
from covalent_core.errors import DispatcherError

#: How long a dispatcher that a client has started stays without work.
IDLE_SECONDS = 300.0
#: How long a new dispatcher may take until it holds its lock.
START_SECONDS = 30.0

#: The dispatchers that this process has started last, by the folder of their home.
_started: dict[Path, DetachedProcess] = {}


def start_dispatcher(home: Home) -> None:
    """Start a dispatcher process if none lives; do not wait for it. Of several started at once, one stays."""
    started = _started.get(home.folder)

    if is_served(home) or (started is not None and started.poll() is None):
        return

    home.create()
    command = [sys.executable, "-m", "covalent_core", "serve", "--idle-seconds", _idle_seconds()]

    with open_private(home.log, "ab") as log:
        process = DetachedProcess(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.folder,
            env={**os.environ, "COVALENT_CORE_HOME": str(home.folder)},
            start_new_session=True,
        )

    _started[home.folder] = process


def ensure_dispatcher(home: Home) -> None:
    """Return when a dispatcher serves `home` and has been told to look at the store.

    Raises:
        DispatcherError: It cannot be started; the message holds the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS

    while not is_served(home):
        start_dispatcher(home)
        started = _started.get(home.folder)

        if (started is not None and started.poll() not in (None, 0)) or time.monotonic() > deadline:
            tail = home.log.read_text(errors="replace")[-2000:]
            raise DispatcherError(
                f"the dispatcher of {home.folder} cannot be started; what was dispatched is stored and waits. "
                f"The end of {home.log}:\n{tail}"
            )

        time.sleep(0.005)

    ring(home)


def is_served(home: Home) -> bool:
    """Return whether a dispatcher holds the lock of `home`."""
    with suppress(FileNotFoundError), open(home.lock) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True

    return False


def ring(home: Home) -> None:
    """Let the dispatcher look at the store now rather than at its next poll. Nothing depends on its being heard."""
    with suppress(OSError):
        bell = os.open(home.bell, os.O_WRONLY | os.O_NONBLOCK)

        try:
            os.write(bell, b"!")
        finally:
            os.close(bell)


def _idle_seconds() -> str:
    return os.environ.get("COVALENT_CORE_IDLE_SECONDS", str(IDLE_SECONDS))
