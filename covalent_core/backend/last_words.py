"""What has become of a supervisor that has ended without the end of its job.

Runs on far sides too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from covalent_core.backend._strays import find_strays
from covalent_core.backend.processes import ProcessHandle
from covalent_core.errors import BackendUnreachableError, ExecutorError

T = TypeVar("T")

#: Seconds between looks at a supervisor that ends its job because its guard was killed.
LOOK_SECONDS = 0.02


async def said_after(process: ProcessHandle, said: Callable[[], T | None], seconds: float) -> T:
    """Return what is said of the end of a job whose guard has ended here; then nothing of it is alive.

    Args:
        process: The guard.
        said: Returns it, or None as long as nobody has said anything.
        seconds: How long a supervisor without a guard may take to end its job.

    Raises:
        BackendUnreachableError: It is not known what is alive.
    """
    deadline = time.monotonic() + seconds

    while True:
        # In this order: what ends in between has said so.
        may_come = any(find_strays(process.tag, process.started, ())) and time.monotonic() < deadline
        words = said()

        if words is not None:
            return words

        if not may_come:
            await _give_up(process)

        await asyncio.sleep(LOOK_SECONDS)


async def _give_up(process: ProcessHandle) -> NoReturn:
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
