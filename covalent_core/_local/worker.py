"""A warm worker of the local executor: a guard, a supervisor and the process that it watches, and the line to it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import wait_readable

from covalent_core._detached import DetachedProcess
from covalent_core._executors.bundle import runner_file
from covalent_core._home import find_home
from covalent_core._runner.processes import start_time
from covalent_core._runner.protocol import MESSAGE_BYTES, OUTPUTS, TAG
from covalent_core.backend.processes import ProcessHandle


class Worker:
    """A supervisor with its worker, and the line to it. It ends by itself when the line is closed.

    Attributes:
        handle: The job handle of what it runs.
        python: Its interpreter.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self.python = python
        tag = f"{own_tag()}-{uuid.uuid4().hex[:12]}"
        self._line, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)

        with far, open(folder / f"{tag}.lock", "wb") as lock:
            # Held by the supervisor too, from the moment it exists: to lock it is to know what that has left.
            fcntl.flock(lock, fcntl.LOCK_EX)
            ends = (far.fileno(), lock.fileno())
            self._process = DetachedProcess(
                [python, str(runner_file(find_home())), "--serve", *map(str, ends), str(folder)],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, TAG: tag},
            )

        self._files = folder / tag
        self.handle = str(ProcessHandle.of(self._process.pid, tag))

    def send(self, call: bytes = b"", **message: Any) -> bool:
        """Send a message; return False if the supervisor has ended."""
        try:
            self._line.send(json.dumps(message).encode() + b"\n" + call)
        except (BrokenPipeError, ConnectionResetError):
            remove(self._files, OUTPUTS)
            return False

        return True

    async def receive(self, ticket: str) -> tuple[dict[str, Any], bytes]:
        """Return the next message about a job, with the record of a node that it may carry.

        Raises:
            EOFError: The supervisor is gone.
        """
        while True:
            try:
                message = self._line.recv(2 * MESSAGE_BYTES)
            except BlockingIOError:
                await wait_readable(self._line)
                continue
            except ConnectionResetError:
                message = b""

            if not message:
                remove(self._files, OUTPUTS)
                raise EOFError(f"the worker process {self._process.pid} has ended")

            header, _, record = message.partition(b"\n")
            answer: dict[str, Any] = json.loads(header)

            if answer["ticket"] == ticket:
                return answer, record

    @property
    def exit_code(self) -> int | None:
        """How it has ended, if it has: zero or more where nothing of it is left, less where a signal has ended it."""
        return self._process.poll()

    def close(self) -> None:
        self._line.close()
        self._process.poll()


def own_tag() -> str:
    """Return what the tags of all supervisors begin with that this process starts."""
    return f"{os.getpid()}-{start_time(os.getpid())}"


def remove(prefix: Path, endings: Iterable[str]) -> None:
    """Remove the files that are there of those whose names begin so."""
    for ending in endings:
        with suppress(FileNotFoundError):
            os.unlink(f"{prefix}{ending}")


def is_locked(file: Path) -> bool:
    """Return whether any process holds a lock on a file."""
    try:
        with open(file, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True

    return False
