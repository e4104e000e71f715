"""Compose Python functions into workflows, run them anywhere, and keep command of what runs.

Every name is loaded when it is first used, so that ``import covalent_core`` costs next to nothing and so that this same
file can travel with a job to a machine where nothing is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from covalent_core import executor as executor
    from covalent_core._api import cancel, dispatch, dispatch_sync, get_result, list_dispatches, redispatch
    from covalent_core._cancellation import CancelOutcome, CancelTarget
    from covalent_core._deps import DepsBash, DepsCall, DepsPip
    from covalent_core._electron import Electron, electron, wait
    from covalent_core._job import Job, Results
    from covalent_core._lattice import Lattice, lattice
    from covalent_core._result import Result
    from covalent_core._status import Status
    from covalent_core._task import Task, checkpoint, current_task
    from covalent_core.errors import CovalentError, TaskCancelledError, TaskRuntimeError
    from covalent_core.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = [
    "CancelOutcome",
    "CancelTarget",
    "CovalentError",
    "DepsBash",
    "DepsCall",
    "DepsPip",
    "Electron",
    "Job",
    "Lattice",
    "Result",
    "Results",
    "Status",
    "Task",
    "TaskCancelledError",
    "TaskRuntimeError",
    "cancel",
    "checkpoint",
    "current_task",
    "dispatch",
    "dispatch_sync",
    "electron",
    "executor",
    "get_result",
    "hookimpl",
    "lattice",
    "list_dispatches",
    "redispatch",
    "wait",
]

_HOMES = {
    "CancelOutcome": "_cancellation",
    "CancelTarget": "_cancellation",
    "CovalentError": "errors",
    "DepsBash": "_deps",
    "DepsCall": "_deps",
    "DepsPip": "_deps",
    "Electron": "_electron",
    "Job": "_job",
    "Lattice": "_lattice",
    "Result": "_result",
    "Results": "_job",
    "Status": "_status",
    "Task": "_task",
    "TaskCancelledError": "errors",
    "TaskRuntimeError": "errors",
    "cancel": "_api",
    "checkpoint": "_task",
    "current_task": "_task",
    "dispatch": "_api",
    "dispatch_sync": "_api",
    "electron": "_electron",
    "get_result": "_api",
    "hookimpl": "hookspecs",
    "lattice": "_lattice",
    "list_dispatches": "_api",
    "redispatch": "_api",
    "wait": "_electron",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "executor", "hookspecs"):
        return import_module(f"covalent_core.{name}")

    if name not in _HOMES:
        raise AttributeError(f"module 'covalent_core' has no attribute {name!r}")

    try:
        value = getattr(import_module(f"covalent_core.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"covalent_core.{name} is not available here ({error}); inside a task on a machine where covalent-core is "
            f"not installed only checkpoint, current_task and the errors are; install covalent-core there to use more"
        ) from error

    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors", "hookspecs"]
