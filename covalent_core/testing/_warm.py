"""Dispatchers that start in milliseconds: forked from a process that has imported everything and done nothing.

Most of what it takes to start a dispatcher is importing; a suite starts about a hundred of them.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import IO, Any

from covalent_core import _cli, _stops
from covalent_core._executors import bundle
from covalent_core.hookspecs import PROJECT
from covalent_core.testing._probes import alive, wait_until

#: What a dispatcher imports sooner or later, besides its executors.
IMPORTS = ("covalent_core._dispatch.dispatcher", "anyio._backends._asyncio", "uvloop", "sqlalchemy.dialects.sqlite")


class WarmDispatcher:
    """A dispatcher process, with what the client asks of a `subprocess.Popen`."""

    def __init__(
        self, command: list[str], *, stdout: IO[bytes], cwd: Any, env: Mapping[str, str], **options: Any
    ) -> None:
        source = _source(os.getpid())
        assert source.stdin is not None
        assert source.stdout is not None
        order = {"arguments": command[3:], "log": stdout.name, "folder": os.fspath(cwd), "environment": dict(env)}
        source.stdin.write(json.dumps(order, default=os.fspath) + "\n")
        source.stdin.flush()
        self.pid = int(source.stdout.readline())

    def poll(self) -> int | None:
        """Return None while it lives."""
        return None if alive(self.pid) else 0

    def wait(self) -> int:
        """Return when it has ended."""
        wait_until(lambda: not alive(self.pid))
        return 0


@cache
def _source(owner: int) -> subprocess.Popen[str]:
    # Not that of the test which happens to come first: what bears the home of a test is ended with it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVALENT_CORE_")}
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _serve(order: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in sys.path]
    _stops.folder = os.environ.get("COVALENT_CORE_STOPS")

    for number, file, mode in ((0, os.devnull, os.O_RDONLY), (1, order["log"], os.O_WRONLY | os.O_APPEND)):
        os.dup2(os.open(file, mode), number)

    os.dup2(1, 2)
    _cli.main(order["arguments"])


def _import_all_of(package: str) -> None:
    """Import a plugin with all its modules: what they import only when they are used is here once for all tests."""
    for module in iter_modules(getattr(import_module(package), "__path__", ())):
        if module.name != "__main__":
            import_module(f"{package}.{module.name}")


def main() -> None:
    """Fork a dispatcher for every line that comes in, and answer with its process id."""
    for module in IMPORTS:
        import_module(module)

    plugins = entry_points(group=f"{PROJECT}.executors")

    for package in {plugin.module.partition(".")[0] for plugin in plugins} - {PROJECT}:
        # One that cannot be imported is for the test to find.
        with suppress(Exception):
            _import_all_of(package)

    for composing in (False, True):
        bundle.runner_zip(composing=composing)

    bundle.compiled_runner()
    # What all dispatchers share is not looked through by each, which would copy it.
    gc.freeze()

    for line in sys.stdin:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

        pid = os.fork()

        if pid == 0:
            try:
                _serve(json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)

        print(pid, flush=True)
