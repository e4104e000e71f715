"""Named stops, a record of the calls, and faults of the backend: what a test needs inside of the dispatcher.

All of it costs a comparison unless ``COVALENT_CORE_STOPS`` names a folder.

A stop whose name is a file in that folder is taken: the dispatcher says so with a file ``<name>.reached`` and waits
until the first file is removed. The stop ``during-<hook>`` is reached when the hook is called, and its answer is held
back until the stop is left; a cancel interrupts it as it would interrupt the hook.

Every call of a hook is a line in the file ``calls``, and so is every answer.

The file ``fault-<hook>`` has a line for each call to come that meets with a fault of the backend: ``unreachable``, the
hook is not called and fails; ``away`` or ``refused``, it is not called and says so with `BackendUnreachableError`;
``lost``, its answer is; ``twice``, it is called twice. If the last line is ``...``, the one before it holds for all
further calls.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import sleep

from covalent_core.errors import BackendUnreachableError

folder = os.environ.get("COVALENT_CORE_STOPS")


async def stop(name: str) -> None:
    """Wait here if a test asks for it."""
    if folder is not None:
        _reach(name)
        await _until_left(name)


async def watch(hook: str, call: Callable[[], Awaitable[Any]], **arguments: Any) -> Any:
    """Call a hook as a test wants it, and write it down."""
    fault = _next_fault(hook)
    job = arguments["job"]
    _note(hook, "called", job.ticket, job_handle=arguments.get("job_handle"))

    try:
        answer = await _meet(fault, hook, call)
    except BaseException as error:
        _note(hook, "raised", job.ticket, error=repr(error))
        raise

    _note(hook, "returned", job.ticket, answer=answer if isinstance(answer, str) else None)
    return answer


async def _meet(fault: str, hook: str, call: Callable[[], Awaitable[Any]]) -> Any:
    if fault == "unreachable":
        raise ConnectionError(f"the backend is unreachable ({hook})")

    if fault == "away":
        raise BackendUnreachableError(f"the backend is away ({hook})")

    if fault == "refused":
        raise BackendUnreachableError(f"the backend has refused ({hook})", refused=True)

    _reach(f"during-{hook}")
    answer = await call()

    if fault == "twice":
        answer = await call()

    await _until_left(f"during-{hook}")

    if fault == "lost":
        raise ConnectionError(f"the answer of the backend is lost ({hook})")

    return answer


def _reach(name: str) -> None:
    asked = Path(str(folder), name)

    if asked.exists():
        asked.with_suffix(".reached").touch()


async def _until_left(name: str) -> None:
    while Path(str(folder), name).exists():
        await sleep(0.002)


def _next_fault(hook: str) -> str:
    file = Path(str(folder), f"fault-{hook}")

    if not file.exists():
        return ""

    fault, *later = file.read_text().split() or [""]

    if later != ["..."]:
        file.write_text("\n".join(later))

    return fault


def _note(hook: str, event: str, ticket: str, **details: Any) -> None:
    line = {"hook": hook, "event": event, "ticket": ticket, "time": time.time(), "pid": os.getpid(), **details}

    with open(Path(str(folder), "calls"), "a") as file:
        file.write(json.dumps(line) + "\n")
