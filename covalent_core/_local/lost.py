"""What has become of a supervisor that has ended without the end of its job."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from covalent_core._executors.bundle import TOO_OLD
from covalent_core._local.worker import Worker
from covalent_core._runner.protocol import ENDED
from covalent_core.backend.last_words import said_after
from covalent_core.backend.processes import ProcessHandle


async def how_lost(process: ProcessHandle, worker: Worker | None, folder: Path, location: str, seconds: float) -> str:
    """Return in words how a supervisor has ended, empty if the end of its job is there after all.

    When this returns, nothing of it is alive.

    Args:
        process: The guard.
        worker: The same, if this process has started it.
        folder: Where the files of supervisors are.
        location: The beginning of the names of the files of the job.
        seconds: How long a supervisor without a guard may take to end its job.

    Raises:
        BackendUnreachableError: It is not known what is alive, or cannot be from here.
    """
    await process.wait()

    if not process.place.is_here():
        return f"{process.place.host}, where the task ran, was booted since"

    return await said_after(process, partial(_said, worker, folder / (process.tag + ENDED), location), seconds)


def _said(worker: Worker | None, words: Path, location: str) -> str | None:
    if os.path.lexists(location + ENDED):
        return ""

    with suppress(FileNotFoundError):
        return os.readlink(words)

    if worker is not None and (code := worker.exit_code) is not None and code >= 0:
        why = "it is older than Python 3.8, which tasks need" if code == TOO_OLD else "see dispatcher.log"
        return f"the interpreter {worker.python} ended with exit code {code} before the task had begun: {why}"

    return None
