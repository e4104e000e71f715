"""What a task finds in its process and may change, so that the next one of the same worker finds it as it was."""

from __future__ import annotations

# Not `signal`, which makes an enumeration of each number: a pack looks after every task.
import _signal as signal  # type: ignore[import-not-found]
import contextlib
import os
import resource
import sys
import threading
from typing import Any, Dict, List

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
SIGNALS = sorted(signal.valid_signals())
#: What a process can only lower, or what is not worth being put back: another process takes over.
LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


class Surroundings:
    """The state of this process when it is made."""

    def __init__(self) -> None:
        self._environment, self._path, self._folder = dict(environment()), list(sys.path), os.getcwd()
        self._umask, self._recursion = read_umask(), sys.getrecursionlimit()
        self._handlers = handlers()
        self._fixed = fixed()

    def restored(self) -> bool:
        """Make everything as it was; return False where that cannot be, and another process has to take over."""
        # Whatever a task has made of what this is done with, its outcome is still to be told.
        try:
            return self._restore() and self._fixed == fixed() and threading.active_count() == 1
        except Exception:
            return False

    def restore(self) -> None:
        """Put back what can be put back."""
        with contextlib.suppress(Exception):
            self._restore()

    def _restore(self) -> bool:
        sys.path[:] = self._path
        os.umask(self._umask)
        sys.setrecursionlimit(self._recursion)
        disarm_timers()
        forget_random_state()
        forget_log_handlers()

        if environment() != self._environment:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self._environment.items()})

        os.chdir(self._folder)
        return self._restore_handlers()

    def _restore_handlers(self) -> bool:
        for number, handler in handlers().items():
            before = self._handlers[number]

            if handler != before:
                # Code that is not Python's has set one of them, and that cannot be set again.
                if before is None or handler is None:
                    return False

                signal.signal(number, before)

        return True


def environment() -> Dict[bytes, bytes]:
    # As it is: the mapping itself decodes every name and value that is looked at.
    data: Dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return data


def fixed() -> List[Any]:
    """Return what is not put back: priority, processors, limits, who this is, and the signals that are blocked."""
    owner = (os.getresuid(), os.getresgid())
    share = (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), list(map(resource.getrlimit, LIMITS)))
    return [owner, share, signal.pthread_sigmask(signal.SIG_BLOCK, ())]


def handlers() -> Dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def read_umask() -> int:
    # It can only be read by setting it; no other thread is there to make a file meanwhile.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def disarm_timers() -> None:
    for timer in TIMERS:
        if signal.getitimer(timer)[0]:
            signal.setitimer(timer, 0)


def forget_random_state() -> None:
    """Let no task have the random numbers that follow from a seed that one before it has set."""
    if "random" in sys.modules:
        sys.modules["random"].seed(int.from_bytes(os.urandom(16), "little"))

    # NumPy's global state; generators of its newer kind belong to whoever makes them.
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed(int.from_bytes(os.urandom(4), "little"))


def forget_log_handlers() -> None:
    """Let a task that configures logging find it as a script does; what libraries have set for themselves stays."""
    if "logging" in sys.modules:
        root = sys.modules["logging"].getLogger()

        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()

        root.setLevel("WARNING")
