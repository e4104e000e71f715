"""The nursery: the parent of all runners that one agent starts. It has the runner in memory."""

from __future__ import annotations

import ctypes
import importlib.machinery
import json
import os
import signal
import socket
import sys
import traceback
import types
import zipfile
from typing import Any, Dict

from covalent_core._runner.protocol import TAG


class Nursery:
    """Fork a runner for each job. What a runner leaves is ended by its guard."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._runner: Any = None
        self._first = ""

    def serve(self) -> None:
        """Go on until the agent has gone."""
        # Nobody waits for the runners: they say themselves how they ended.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

        while True:
            message = self._line.recv(65536)

            if not message:
                return

            self._start(json.loads(message))

    def _start(self, order: Dict[str, Any]) -> None:
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
        self._line.send(json.dumps(message).encode())

    def _load(self, bundle: str) -> Any:
        """Return the code of the runner, with all that it imports in memory, found as the runner itself finds it."""
        # What the agent uses is its own; the tasks have what is in their bundle, or installed.
        for name in [name for name in sys.modules if name.partition(".")[0] == "covalent_core"]:
            del sys.modules[name]

        sys.path.insert(0, bundle)

        with zipfile.ZipFile(bundle) as file:
            code = compile(file.read("__main__.py"), "__main__.py", "exec")

        exec(code, {"__name__": "runner"})
        sys.modules["covalent_runner.__main__"].load()
        sys.path.remove(bundle)
        self._first = bundle
        return code

    def _become_runner(self, order: dict[str, Any]) -> None:
        """Be what ``python bundle.pyz`` would be, in the folder of the job and in a session of its own."""
        try:
            os.setsid()
            os.chdir(os.path.dirname(order["bundle"]))
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
