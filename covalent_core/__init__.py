"""Compose Python functions into workflows, run them anywhere, and keep command of what runs.

Every name is loaded when it is first used, so that ``import covalent_core`` costs next to nothing and so that this same
file can travel with a job to a machine where nothing is installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from covalent_core import executor as executor
    from covalent_core._client.api import dispatch, dispatch_sync, get_result, list_dispatches, redispatch
    from covalent_core._client.cancelling import cancel
    from covalent_core._client.choosing import where
    from covalent_core._client.purging import purge
    from covalent_core._client.result import Result
    from covalent_core._client.schedules import (
        Schedule,
        list_schedules,
        pause_schedule,
        resume_schedule,
        schedule,
        trigger,
        unschedule,
    )
    from covalent_core._compose.electron import Electron, electron, wait
    from covalent_core._compose.lattice import Lattice, lattice
    from covalent_core._model.cancellation import CancelOutcome, CancelTarget
    from covalent_core._model.job import Job, Perhaps, Results
    from covalent_core._model.status import Status
    from covalent_core._model.usage import Usage
    from covalent_core._runner.deps import DepsBash, DepsCall, DepsPip
    from covalent_core._runner.task import Task, checkpoint, current_task, shield
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
    "Perhaps",
    "Result",
    "Results",
    "Schedule",
    "Status",
    "Task",
    "TaskCancelledError",
    "TaskRuntimeError",
    "Usage",
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
    "list_schedules",
    "pause_schedule",
    "purge",
    "redispatch",
    "resume_schedule",
    "schedule",
    "shield",
    "trigger",
    "unschedule",
    "wait",
    "where",
]

_HOMES = {
    "CancelOutcome": "_model.cancellation",
    "CancelTarget": "_model.cancellation",
    "CovalentError": "errors",
    "DepsBash": "_runner.deps",
    "DepsCall": "_runner.deps",
    "DepsPip": "_runner.deps",
    "Electron": "_compose.electron",
    "Job": "_model.job",
    "Lattice": "_compose.lattice",
    "Perhaps": "_model.job",
    "Result": "_client.result",
    "Results": "_model.job",
    "Schedule": "_client.schedules",
    "Status": "_model.status",
    "Task": "_runner.task",
    "TaskCancelledError": "errors",
    "TaskRuntimeError": "errors",
    "Usage": "_model.usage",
    "cancel": "_client.cancelling",
    "checkpoint": "_runner.task",
    "current_task": "_runner.task",
    "dispatch": "_client.api",
    "dispatch_sync": "_client.api",
    "electron": "_compose.electron",
    "get_result": "_client.api",
    "hookimpl": "hookspecs",
    "lattice": "_compose.lattice",
    "list_dispatches": "_client.api",
    "list_schedules": "_client.schedules",
    "pause_schedule": "_client.schedules",
    "purge": "_client.purging",
    "redispatch": "_client.api",
    "resume_schedule": "_client.schedules",
    "schedule": "_client.schedules",
    "shield": "_runner.task",
    "trigger": "_client.schedules",
    "unschedule": "_client.schedules",
    "wait": "_compose.electron",
    "where": "_client.choosing",
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
            f"not installed only checkpoint, current_task, shield and the errors are; install covalent-core there to "
            f"use more"
        ) from error

    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__", "errors", "hookspecs"]
