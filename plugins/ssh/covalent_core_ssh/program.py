"""The program of the far side: all of its modules in one text, which an interpreter there reads and runs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import covalent_core

#: What it uses of the core. Each needs none but those before it.
CORE = (
    "covalent_core.errors",
    "covalent_core._runner.protocol",
    "covalent_core._runner.processes",
    "covalent_core.backend._proc",
    "covalent_core.backend._strays",
    "covalent_core.backend.processes",
    "covalent_core.backend.last_words",
    "covalent_core.backend.job_folder",
)

#: Its own, likewise.
MODULES = ("ends", "nursery", "agent")

_LOAD = """
import sys, types

for name, source in {modules!r}:
    module = sys.modules[name] = types.ModuleType(name)

    if source:
        module.__package__ = name.rpartition(".")[0]
        exec(compile(source, name, "exec"), module.__dict__)
    else:
        module.__path__ = []

sys.modules["far_side.{main}"].main(*{arguments})
"""


def agent_program(mark: str, workdir: str, silence: float, *, own: Path | None = None) -> bytes:
    """Return the program of an agent.

    Args:
        mark: What it says before its first word.
        workdir: The folder for all jobs.
        silence: Seconds without a request after which it takes the line to be dead.
        own: A module that is begun instead of the agent's own, and makes one that answers more.
    """
    modules = [*_modules(), *([(f"far_side.{own.stem}", own.read_text())] if own else [])]
    main = own.stem if own else "agent"
    return _LOAD.format(modules=modules, main=main, arguments=json.dumps([mark, workdir, silence])).encode()


@cache
def _modules() -> list[tuple[str, str]]:
    """Return the names and sources of all modules; packages have none."""
    here, core = Path(__file__).with_name("_far_side"), Path(covalent_core.__file__).parent
    packages = [(name, "") for name in ("covalent_core", "covalent_core._runner", "covalent_core.backend", "far_side")]
    used = [(name, core.joinpath(*name.split(".")[1:]).with_suffix(".py").read_text()) for name in CORE]
    return [*packages, *used, *((f"far_side.{name}", (here / f"{name}.py").read_text()) for name in MODULES)]
