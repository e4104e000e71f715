"""What a supervisor that was itself killed has left behind: found by its tag and by what it had noted, and ended.

Runs on far sides too.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial

from covalent_core.backend._proc import Process, has_tag, living, look_at, send
from covalent_core.errors import ExecutorError

#: How many times in a row nothing must be found: what is just being forked is in no list.
EMPTY_PASSES = 2

#: Seconds between the first two passes, doubled from one to the next, and the longest ones.
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2


async def sweep(tag: str, *, after: str, noted: Collection[str] = (), seconds: float = 10.0) -> None:
    """Kill all that bears a tag or was noted, and what comes from it. When this returns, none of it is alive.

    What has cleared its environment and was not noted is not found. What does not let its environment be seen, as
    programs with capabilities do not, may be a part of it unless it was started by somebody who is none: that is an
    error, not an end. This process is never killed.

    Args:
        tag: The value of ``COVALENT_CORE_SUPERVISOR`` in the environment.
        after: When its supervisor started, in clock ticks since boot. What is older is none of it.
        noted: Processes that its supervisor had below it, each as ``<process id>.<start time>``.
        seconds: How long they may take to end.

    Raises:
        ExecutorError: Some are alive after that, or some that are alive may belong to it.
    """
    deadline = time.monotonic() + seconds
    stopped: set[str] = set()
    empty, pause = 0, FIRST_PAUSE

    while empty < EMPTY_PASSES:
        strays, unclear = find_strays(tag, after, stopped.union(noted))
        empty = 0 if strays or unclear else empty + 1

        if (strays or unclear) and time.monotonic() > deadline:
            raise ExecutorError(_complaint(strays, unclear, seconds))

        new = {stray.name for stray in strays} - stopped
        stopped |= new
        # Whoever is stopped forks no more: at last all are known, before the first of them is gone.
        _send(strays, signal.SIGSTOP if new else signal.SIGKILL)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def find_strays(tag: str, after: str, noted: Collection[str]) -> tuple[list[Process], list[Process]]:
    """Return what is alive of it, and what may be a part of it."""
    processes = {process.pid: process for process in living() if int(process.started) >= int(after)}
    tagged = {pid: has_tag(pid, tag) for pid in processes} if tag else {}
    found = {pid for pid, process in processes.items() if tagged.get(pid) or process.name in noted}
    leaders = {int(name.partition(".")[0]) for name in noted}

    while more := {pid for pid in processes.keys() - found if _comes_from(processes[pid], found, leaders)}:
        found |= more

    hidden = [processes[pid] for pid, has in tagged.items() if has is None and pid not in found]
    return [processes[pid] for pid in found], [stray for stray in hidden if tagged[_top(stray, processes)] is None]


def _comes_from(process: Process, found: Collection[int], leaders: Collection[int]) -> bool:
    if process.parent in found or process.session in found:
        return True

    # A session keeps its number as long as anything of it lives; a leader that is alive and not ours has it anew.
    return process.session in leaders and look_at(process.session) is False


def _top(process: Process, processes: Mapping[int, Process]) -> int:
    """Return from which of these a process comes at last.

    Whoever adopts what a supervisor leaves is older than it: below somebody younger a process is by birth.
    """
    while process.parent in processes:
        process = processes[process.parent]

    return process.pid


def _send(processes: Collection[Process], signum: int) -> None:
    for process in processes:
        with suppress(PermissionError):
            send(process.pid, signum, partial(_is_still, process))


def _is_still(process: Process) -> bool:
    found = look_at(process.pid)
    return isinstance(found, Process) and found.name == process.name


def _complaint(strays: Collection[Process], unclear: Collection[Process], seconds: float) -> str:
    alive, doubtful = (", ".join(str(process.pid) for process in group) for group in (strays, unclear))
    said = [f"the processes {alive} are alive {seconds:g} s after they were to be killed"] if strays else []
    said += [f"the processes {doubtful} may belong to it, for their environment cannot be seen"] if unclear else []
    pids = ",".join(str(process.pid) for process in [*strays, *unclear])
    return f"not everything of the job is known to be gone: {'; '.join(said)}; see: ps -fp {pids}"
