"""The program of the far side: a zip in the shared folder, from which workers import it."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import covalent_core_ssh

#: What comes from covalent-core-ssh, whose agent starts and ends jobs here as well.
AGENT = ("processes", "files", "nursery", "agent")

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
        self.path = folder / f"{_package()}.zip"
        namespace: dict[str, Any] = {"__name__": _package()}
        exec(_STUBS, namespace)  # noqa: S102  (functions of a module that a worker cannot import travel as they are)
        self.call: Callable[..., Any] = namespace["call"]
        self.call_now: Callable[..., Awaitable[Any]] = namespace["call_now"]

    def bring(self) -> None:
        """Put it there, unless it is."""
        if not self.path.exists():
            part = self.path.with_suffix(f".{os.getpid()}")
            part.write_bytes(_content())
            part.rename(self.path)

    def arguments(self, do: str, **order: Any) -> tuple[str, str, str, dict[str, Any]]:
        """Return what `call` and `call_now` are called with."""
        return str(self.path), f"{_package()}.guardian", do, order


def _sources() -> dict[str, bytes]:
    here, agent = Path(__file__).with_name("_far_side"), Path(covalent_core_ssh.__file__).with_name("_far_side")
    files = [here / "__init__.py", here / "guardian.py", *(agent / f"{name}.py" for name in AGENT)]
    return {file.name: file.read_bytes() for file in files}


@cache
def _package() -> str:
    """Return a name that another version of it does not have: a worker may serve both."""
    return f"covalent_core_far_side_{hashlib.sha256(b''.join(_sources().values())).hexdigest()[:12]}"


def _content() -> bytes:
    buffer = io.BytesIO()

    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, source in _sources().items():
            file.writestr(f"{_package()}/{name}", source)

    return buffer.getvalue()
