"""The nursery: the parent of all runners that one agent starts."""

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
from typing import Any

from .processes import TAG


class Nursery:
    """Fork a runner for each job, and say of each when it has ended."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._runner: Any = None
        self._first = ""
        self._wakeup, wakeup = os.pipe()

        for end in (self._wakeup, wakeup):
            os.set_blocking(end, False)

        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)

    def serve(self) -> None:
        """Go on until the agent has gone."""
        while True:
            ready = select.select([self._line.fileno(), self._wakeup], [], [])[0]

            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()

            if self._line.fileno() in ready:
                message = self._line.recv(65536)

                if not message:
                    return

                self._start(json.loads(message))

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid = os.waitpid(-1, os.WNOHANG)[0]

                if pid == 0:
                    return

                self._say(ended=pid)

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

        self._say(ticket=order["ticket"], pid=pid)

    def _say(self, **message: Any) -> None:
        with suppress(BrokenPipeError):
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


def redirect_to(log: str) -> None:
    """Let go of all that belongs to the agent and its session."""
    os.closerange(3, 256)

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
