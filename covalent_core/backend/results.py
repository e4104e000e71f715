"""The result files of a job, from wherever they are into a folder of this machine, and what stands in them."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from covalent_core._home import find_home
from covalent_core._model.job import Job, Value
from covalent_core._runner.protocol import CANCEL, ENDED, FOLDER, LEASE, OUTCOME, PROCESS, VALUE
from covalent_core.errors import BackendUnreachableError

__all__ = [
    "CANCEL",
    "ENDED",
    "FOLDER",
    "LEASE",
    "OUTCOME",
    "PROCESS",
    "VALUE",
    "Outcome",
    "fetch_results",
    "read_outcome",
    "release_results",
    "sweep_results",
]

#: Brings the result file of a name to a path of this machine.
Get: TypeAlias = Callable[[str, Path], Awaitable[object]]


@dataclass(frozen=True)
class Outcome:
    """How a node ended, as its runner says.

    Attributes:
        status: ``COMPLETED``, ``FAILED``, ``CANCELLED``; ``TERMINATED`` if it was ended before its function was
            through; ``SKIPPED`` if it did not begin because another one of its pack has failed.
        error: What went wrong, in words for the user.
        ended_by: What has ended its process if it did not end by itself, "signal 9" for example.
        has_value: Whether its value is in a file of its own, ``<ticket>.<node id>.value``.
    """

    status: str
    error: str | None
    ended_by: str | None
    has_value: bool


def read_outcome(record: Value) -> Outcome:
    """Return how a node ended, without opening what its function has returned.

    Args:
        record: The file ``<ticket>.<node id>.outcome``, or its content.

    Raises:
        BackendUnreachableError: It is there in part only.
    """
    if isinstance(record, Path):
        with record.open("rb") as file:
            line = file.readline()
    else:
        line = record.partition(b"\n")[0]

    try:
        header = json.loads(line)
        return Outcome(header["status"], header["error"], header.get("ended_by"), header["file"])
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnreachableError(f"an outcome is there in part only, it begins with {line[:80]!r}") from error


async def fetch_results(job: Job, node_ids: Iterable[int], get: Get) -> Mapping[str, Value]:
    """Return the result files of those of some nodes that have ended, as `fetch` and ``job.report_results`` take them.

    They are kept in a folder of the home until the core releases the job. What is there as a whole is not brought
    again, also by another process; who is interrupted or fails leaves no half of a file.

    Args:
        get: Is called with the name of a result file, ``<ticket>.<node id>.outcome`` for example, and the path to bring
            it to. It raises FileNotFoundError if it knows that there is no such file.

    Raises:
        BackendUnreachableError: A value is not to be seen though its outcome is, or an outcome is there in part only:
            file systems show late what was written far away.
        Exception: What `get` raises.
    """
    folder = find_home().fetched / job.ticket
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found: dict[str, Value] = {}

    for node_id in node_ids:
        name = f"{job.ticket}.{node_id}"

        # The core knows what it means that an outcome is missing.
        with suppress(FileNotFoundError):
            outcome = await _bring(folder, f"{name}{OUTCOME}", get)
            found |= {outcome.name: outcome, **await _value_of(outcome, folder, f"{name}{VALUE}", get)}

    return found


def release_results(ticket: str) -> None:
    """Remove what has been fetched of a job."""
    with suppress(FileNotFoundError):
        shutil.rmtree(find_home().fetched / ticket)


def sweep_results(tickets: Collection[str]) -> None:
    """Remove what dispatchers before this one have left: halves of files, and all of jobs but these.

    Args:
        tickets: Those of the jobs that have not been released.
    """
    for ticket in _names_in(find_home().fetched):
        if ticket not in tickets:
            release_results(ticket)
            continue

        for name in _names_in(find_home().fetched / ticket):
            if name.endswith(".part"):
                os.unlink(find_home().fetched / ticket / name)


async def _value_of(outcome: Path, folder: Path, name: str, get: Get) -> dict[str, Value]:
    if not read_outcome(outcome).has_value:
        return {}

    try:
        return {name: await _bring(folder, name, get)}
    except FileNotFoundError as error:
        raise BackendUnreachableError(f"{outcome.name} is there and {name} is not to be seen yet") from error


async def _bring(folder: Path, name: str, get: Get) -> Path:
    target = folder / name

    if not target.exists():
        # Who runs and who cancels may ask for the same at the same time.
        part = folder / f"{name}.{uuid.uuid4().hex}.part"

        try:
            await get(name, part)
            _check(name, part)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    return target


def _check(name: str, part: Path) -> None:
    """Raise if a file is there in part only, as far as that can be seen."""
    if name.endswith(OUTCOME):
        read_outcome(part)


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
