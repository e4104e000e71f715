"""The program of the far side: all of its modules in one text, which an interpreter there reads and runs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

#: Each needs none but those before it.
MODULES = ("processes", "files", "nursery", "agent")

_LOAD = """
import sys, types

for name, source in {modules!r}:
    module = types.ModuleType(name)
    module.__package__ = "far_side"
    module.__path__ = []
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)

sys.modules["far_side.agent"].main(*{arguments})
"""


def agent_program(mark: str, workdir: str, silence: float) -> bytes:
    """Return the program of an agent.

    Args:
        mark: What it says before its first word.
        workdir: The folder for all jobs.
        silence: Seconds without a request after which it takes the line to be dead.
    """
    return _LOAD.format(modules=_modules(), arguments=json.dumps([mark, workdir, silence])).encode()


@cache
def _modules() -> list[tuple[str, str]]:
    folder = Path(__file__).with_name("_far_side")
    return [("far_side", "")] + [(f"far_side.{name}", (folder / f"{name}.py").read_text()) for name in MODULES]
