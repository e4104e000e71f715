"""Bundles as a far side runs them: with an interpreter and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
from probes import wait_until

from covalent_core._executors.bundle import pack
from covalent_core._model.job import Job, TaskCall

TICKET = "ct-ticket-3-0"

#: Is what ``python bundle.pyz`` is, with other constants.
PATCHED = """
import importlib, sys
sys.path.insert(0, "bundle.pyz")
for module, name, value in {constants!r}:
    setattr(importlib.import_module("covalent_runner." + module), name, value)
sys.argv[0] = "bundle.pyz"
from covalent_runner.__main__ import main
main(sys.argv[1:])
"""


def job_of(*functions: Callable[[], Any], timeout: float | None = None, grace: float = 5.0) -> Job:
    """Return a job with a node for each function: 3, and so on."""
    no_arguments = pickle.dumps(((), {}))
    calls = (
        TaskCall(node_id, "function", by_value(function), no_arguments, timeout=timeout)
        for node_id, function in enumerate(functions, 3)
    )
    return Job("a-dispatch", TICKET, 0, tuple(calls), grace)


def by_value(function: Callable[[], Any]) -> bytes:
    """Pickle a function with all that it needs of its module, which the far side does not have."""
    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)

    try:
        return cloudpickle.dumps(function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def start(job: Job, folder: Path, *arguments: str, **constants: Any) -> subprocess.Popen[bytes]:
    """Start a bundle in a folder.

    Args:
        constants: Other values of the runner's constants, as ``module_NAME=value``.
    """
    (folder / "bundle.pyz").write_bytes(pack(job))
    program = ["bundle.pyz"]

    if constants:
        triples = [(*name.split("_", 1), value) for name, value in constants.items()]
        program = ["-c", PATCHED.format(constants=triples)]

    command = [sys.executable, "-I", "-S", *program, *arguments]
    return subprocess.Popen(command, cwd=folder, env={"PATH": os.environ["PATH"]})


def results(folder: Path) -> Path:
    return folder / "results"


def outcome_in(folder: Path, node_id: int = 3) -> tuple[dict[str, Any], bytes]:
    header, _, content = (results(folder) / f"{TICKET}.{node_id}.outcome").read_bytes().partition(b"\n")
    return json.loads(header), content


def outcome_of(folder: Path, *functions: Callable[[], Any], **options: Any) -> tuple[dict[str, Any], bytes]:
    """Run a job to its end, and return the outcome of its first node."""
    assert start(job_of(*functions, **options), folder).wait(20) == 0
    assert (results(folder) / f"{TICKET}.ended").is_symlink()
    return outcome_in(folder)


def until_there(file: Path) -> str:
    """Wait for a file with a whole line in it."""
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text().strip()
