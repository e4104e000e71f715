"""The nursery: the parent of all runners that one agent starts, and who inherits what a killed one leaves."""

from __future__ import annotations

import ctypes
import importlib.machinery
import json
import os
import select
import signal
import socket
import sys
import traceback
import types
import zipfile
from contextlib import suppress
from typing import Any, List, Set

from .processes import TAG

PR_SET_CHILD_SUBREAPER = 36

#: Seconds between looks at what a killed runner has left, until all of it is gone.
STRAYS_SECONDS = 0.02


class Nursery:
    """Fork a runner for each job, end what it leaves if it is killed, and then say that it has ended.

    The kernel makes all that a runner leaves a child of this process, whatever it has done to its session and its
    environment. Until that is gone, the runner is not reaped: so long others see that it is not over.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line: socket.socket | None = line
        self._runners: Set[int] = set()
        self._runner: Any = None
        self._first = ""
        self._wakeup, wakeup = os.pipe()

        for end in (self._wakeup, wakeup):
            os.set_blocking(end, False)

        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def serve(self) -> None:
        """Go on until the agent and all runners have gone."""
        has_strays = False

        while self._line is not None or self._runners:
            lines = [self._wakeup] + ([self._line] if self._line is not None else [])
            ready = select.select(lines, [], [], STRAYS_SECONDS if has_strays else None)[0]

            if self._wakeup in ready:
                os.read(self._wakeup, 4096)

            if self._wakeup in ready or has_strays:
                has_strays = self._reap()

            if self._line in ready:
                self._listen()

    def _listen(self) -> None:
        assert self._line is not None
        message = self._line.recv(65536)

        if message:
            self._start(json.loads(message))
        else:
            # The session of the agent ends only when nobody has its ends any more.
            self._line.close()
            self._line = None
            redirect_to(os.devnull)

    def _reap(self) -> bool:
        """Take note of runners that have ended and left nothing; return whether there is something to be ended."""
        ended = [pid for pid in self._runners if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)]

        if not ended:
            return False

        strays = set(children()) - self._runners

        for pid in strays:
            # What belongs to another user cannot be ended; as long as it lives the runner is not over.
            with suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)

            os.waitpid(pid, os.WNOHANG)

        for pid in [] if strays else ended:
            os.waitpid(pid, 0)
            self._runners.remove(pid)
            self._say(ended=pid)

        return bool(strays)

    def _start(self, order: dict[str, Any]) -> None:
        try:
            if self._runner is None:
                self._runner = self._load(order["bundle"])

            pid = os.fork()
        except Exception as error:
            self._say(ticket=order["ticket"], error=f"{type(error).__name__}: {error}")
            return

        if pid == 0:
            self._become_runner(order)

        self._runners.add(pid)
        self._say(ticket=order["ticket"], pid=pid)

    def _say(self, **message: Any) -> None:
        with suppress(BrokenPipeError):
            if self._line is not None:
                self._line.send(json.dumps(message).encode())

    def _load(self, bundle: str) -> Any:
        """Return the code of the runner, with all that it imports in memory, found as the runner itself finds it."""
        sys.path.insert(0, bundle)
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401

        sys.path.append(sys.path.pop(0))
        from covalent_core import errors  # noqa: F401
        from covalent_core._runner import task  # noqa: F401

        with zipfile.ZipFile(bundle) as file:
            code = compile(file.read("__main__.py"), "__main__.py", "exec")

        exec(code, {"__name__": "runner"})
        sys.path.remove(bundle)
        self._first = bundle
        return code

    def _become_runner(self, order: dict[str, Any]) -> None:
        """Be what ``python bundle.pyz`` would be, in the folder of the job and in a session of its own."""
        try:
            os.setsid()
            os.chdir(os.path.dirname(order["bundle"]))
            signal.set_wakeup_fd(-1)
            os.closerange(3, 256)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            redirect_to("runner.log")
            mark(order["tag"])

            for name in ("cloudpickle", "covalent_core", "covalent_runner"):
                path = sys.modules[name].__path__
                path[:] = [entry.replace(self._first, order["bundle"]) for entry in path]

            main = types.ModuleType("__main__")
            main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
            main.__file__ = "__main__.py"
            sys.modules["__main__"] = main
            sys.argv = [order["bundle"], *order["arguments"]]
            sys.path.insert(0, order["bundle"])
            exec(self._runner, main.__dict__)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)


def children() -> List[int]:
    """Return the children of this process, those that have ended as well; none where the kernel does not say."""
    with suppress(FileNotFoundError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]

    return []


def redirect_to(log: str) -> None:
    """Let go of the input and the outputs of the agent's session."""
    for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (log, os.O_WRONLY), (log, os.O_WRONLY)]):
        target = os.open(path, flags | (os.O_CREAT | os.O_APPEND if number else 0), 0o600)
        os.dup2(target, number)
        os.close(target)


def mark(tag: str) -> None:
    """Give this process, and all that will come from it, a tag that others see in /proc.

    They see the memory in which the environment was at the start, and `os.environ` does not reach there.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    ctypes.memmove(getenv(TAG.encode()), tag.encode(), len(tag))
    os.environ[TAG] = tag
