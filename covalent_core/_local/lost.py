"""What has become of a supervisor that has ended without the end of its job."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from anyio import current_time, sleep

from covalent_core._executors.bundle import TOO_OLD
from covalent_core._local.worker import Worker
from covalent_core._runner.protocol import ENDED
from covalent_core.backend._strays import find_strays
from covalent_core.backend.processes import ProcessHandle
from covalent_core.errors import BackendUnreachableError, ExecutorError

#: Seconds between looks at a supervisor that ends its job because its guard was killed.
LOOK_SECONDS = 0.02


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

    deadline = current_time() + seconds

    while True:
        # In this order: what ends in between has said so.
        may_come = any(find_strays(process.tag, process.started, ())) and current_time() < deadline

        if os.path.lexists(location + ENDED):
            return ""

        with suppress(FileNotFoundError):
            return os.readlink(folder / (process.tag + ENDED))

        if worker is not None and (code := worker.exit_code) is not None and code >= 0:
            return _never_begun(worker.python, code)

        if not may_come:
            await _give_up(process)

        await sleep(LOOK_SECONDS)


def _never_begun(python: str, code: int) -> str:
    why = "it is older than Python 3.8, which tasks need" if code == TOO_OLD else "see dispatcher.log"
    return f"the interpreter {python} ended with exit code {code} before the task had begun: {why}"


async def _give_up(process: ProcessHandle) -> None:
    """End what can be found of a supervisor that was killed together with its guard.

    Raises:
        BackendUnreachableError: Always, for what cannot be found may be alive.
    """
    words = "the processes that supervised the task were killed; whether it has left others is not known"

    try:
        await process.sweep()
    except ExecutorError as error:
        words += f", and {error}"

    raise BackendUnreachableError(f"{words}; see ps; give it up with ct.cancel(..., force=True)")
