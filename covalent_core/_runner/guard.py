"""The guard of a supervisor: its parent, which ends all that it leaves if it is killed, and says so."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from functools import partial
from typing import Any, Callable, Dict, NoReturn

from .disk import ROOM_SECONDS
from .job import Job
from .processes import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, set_process_option
from .protocol import ENDED, OUTCOME, OUTPUTS, PROCESS
from .records import Outcome, record_of
from .reports import Files
from .stop import died
from .tree import Tree

#: What is meant for the supervisor and comes to the guard, whose process id is the one that others know.
PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def begin_guarded(bury: Callable[[Outcome], None], line: int = -1) -> None:
    """Return in a child of this process, which stays behind as its guard and ends as the child does.

    The guard is a subreaper: what a supervisor leaves that is killed becomes its child, whatever it has made of its
    environment or its session, and is killed until there is none. A child whose guard is killed has SIGTERM.

    Args:
        bury: Called in the guard when the child was killed or has failed, and nothing that it has started is alive.
        line: The descriptor of a line that is the child's alone: its end is the end of the child.
    """
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    # What neither of them writes to they share: a collection would write to every object.
    gc.freeze()
    supervisor = os.fork()

    if supervisor:
        if line >= 0:
            os.close(line)

        _guard(supervisor, bury, lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask))

    set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    if os.getppid() != guard:
        os._exit(1)


def _guard(supervisor: int, bury: Callable[[Outcome], None], listen: Callable[[], object]) -> NoReturn:
    for signum in PASSED_ON:
        signal.signal(signum, lambda signum, frame: os.kill(supervisor, signum))

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave_output()
    listen()
    # An exit code says that nothing is left, so a guard that has failed at it has none.
    proven = int(signal.SIGABRT)

    try:
        status = _wait(supervisor)
        Tree().end()
        proven = status

        if status != 0:
            bury(_lost(status))
    finally:
        _end_likewise(proven)


def _leave_output() -> None:
    """Let whoever reads what the supervisor says see the end of it."""
    with open(os.devnull, "w") as nothing:
        for number in (1, 2):
            os.dup2(nothing.fileno(), number)


def _wait(supervisor: int) -> int:
    os.waitid(os.P_PID, supervisor, os.WEXITED | os.WNOWAIT)

    # Before its number can be another's.
    for signum in PASSED_ON:
        signal.signal(signum, signal.SIG_IGN)

    return os.waitpid(supervisor, 0)[1]


def _lost(status: int) -> Outcome:
    outcome = died(status, "the process that supervised the task")
    return outcome._replace(error=f"{outcome.error}; all that it had started was ended")


def _end_likewise(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        # That SIGKILL cannot be handled is an error.
        with contextlib.suppress(OSError):
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)

        os.kill(os.getpid(), os.WTERMSIG(status))

    os._exit(os.WEXITSTATUS(status))


def bury_job(order: Dict[str, Any], handle: str, output: str, lost: Outcome) -> None:
    """Give every node of a job that has no outcome one, and say that nothing is alive."""
    job = Job(order)

    if not os.path.lexists(job.prefix + PROCESS) or os.readlink(job.prefix + PROCESS) != handle:
        # It is another runner's, or had not begun.
        return

    if os.path.lexists(job.prefix + ENDED):
        return

    files = Files(handle, ROOM_SECONDS)
    files.reserve(job.prefix)

    for node_id in job.node_ids:
        if not os.path.exists(job.file(node_id) + OUTCOME):
            files.tell(job, node_id, record_of(lost), last=False)

    files.settle(lambda: False)
    remove_outputs(output)
    files.tell_end(job)
    files.close(lambda: False)


def bury_server(output: str, lost: Outcome) -> None:
    """Say how a supervisor ended whose jobs nobody else knows, and that nothing is alive."""
    if not os.path.lexists(output + ENDED):
        files = Files("", float("inf"))
        files.put(partial(os.symlink, str(lost.error), output + ENDED))
        files.settle(lambda: False)


def remove_outputs(output: str) -> None:
    for ending in OUTPUTS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(output + ending)
