"""The program of the far side: a zip in the shared folder, from which workers import it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from covalent_core_ssh.program import agent_program

#: Seconds without a request after which an agent would leave: never, it leaves with its worker.
PATIENCE = 1e9

#: What travels with every call: workers cannot import what is only here.
_STUBS = '''
def call(program, module, do, order):
    """Run in a Dask worker, as a task."""
    return load(program, module, do)(**order)

async def call_now(program, module, do, order):
    """Run in a Dask worker at once, beside its tasks."""
    return await load(program, module, do)(**order)

def load(program, module, do):
    import importlib, sys

    if program not in sys.path:
        sys.path.append(program)
        importlib.invalidate_caches()

    return getattr(importlib.import_module(module), do)
'''


class Program:
    """The far side as a worker is told of it.

    Args:
        folder: The shared folder.
    """

    def __init__(self, folder: Path) -> None:
        self._files = _files(str(folder))
        # A name that another version of it does not have: a worker may serve both.
        self._package = f"covalent_core_far_side_{hashlib.sha256(b''.join(self._files.values())).hexdigest()[:12]}"
        self.path = folder / f"{self._package}.zip"
        namespace: dict[str, Any] = {"__name__": self._package}
        exec(_STUBS, namespace)  # noqa: S102  (functions of a module that a worker cannot import travel as they are)
        self.call: Callable[..., Any] = namespace["call"]
        self.call_now: Callable[..., Awaitable[Any]] = namespace["call_now"]

    def bring(self) -> None:
        """Put it there, unless it is."""
        if not self.path.exists():
            part = self.path.with_suffix(f".{os.getpid()}")

            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
                for name, content in self._files.items():
                    file.writestr(name.format(package=self._package), content)

            part.rename(self.path)

    def arguments(self, do: str, **order: Any) -> tuple[str, str, str, dict[str, Any]]:
        """Return what `call` and `call_now` are called with."""
        return str(self.path), f"{self._package}.guardian", do, {"program": str(self.path), **order}


@cache
def _files(folder: str) -> dict[str, bytes]:
    """Return what it consists of: the package that workers import, and the program of the agents beside them."""
    here = Path(__file__).with_name("_far_side")
    package = {f"{{package}}/{name}": (here / name).read_bytes() for name in ("__init__.py", "guardian.py")}
    return {**package, "agent.py": agent_program("", folder, PATIENCE, own=here / "beside.py")}
