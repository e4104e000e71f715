"""A job, as the hooks of an executor see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from covalent_core.errors import TaskCancelledError

#: Pickled bytes, in memory or, where they are many, in a file.
Value: TypeAlias = bytes | Path

#: The result files that the runner wrote: a folder with them, or by name what is in each, as bytes or as a file.
Results: TypeAlias = str | os.PathLike[str] | Mapping[str, Value]

#: Seconds between SIGTERM and SIGKILL where neither the electron nor the executor says otherwise.
DEFAULT_GRACE = 5.0


@dataclass(frozen=True)
class TaskCall:
    """One node of a job: which function is called with what.

    Attributes:
        function: The pickled function.
        call: The pickled ``(args, kwargs)``; outputs of other nodes stand in it as persistent ids.
        inputs: The outputs that `function` and `call` name, by node id.
    """

    node_id: int
    name: str
    function: Value
    call: Value
    inputs: Mapping[int, Value]


@dataclass
class Job:
    """What an executor runs: one node, or several that were packed together.

    Attributes:
        dispatch_id: The dispatch the nodes belong to.
        ticket: Our own unique name for this job; name the job at the backend so, and `find` can find it again.
            At most 50 characters: letters, digits and hyphens.
        attempt: 0 for the first attempt at these nodes.
        tasks: The nodes, in the order in which they are to run.
        grace: Seconds a task is given to end by itself when it is cancelled.
        location: What `upload` returned, once it has.
        job_handle: What `provision` returned, once it has.
    """

    dispatch_id: str
    ticket: str
    attempt: int
    tasks: tuple[TaskCall, ...]
    grace: float = DEFAULT_GRACE
    location: str | None = None
    job_handle: str | None = None
    _cancel_reason: str | None = field(default=None, repr=False)
    _report: Callable[[float, float | None, str], None] = field(default=lambda *_: None, repr=False)

    @property
    def node_ids(self) -> list[int]:
        """The nodes of this job."""
        return [task.node_id for task in self.tasks]

    @property
    def task_metadata(self) -> dict[str, Any]:
        """What `cancel` is given: ``dispatch_id`` and ``node_id``, for a pack ``node_ids`` as well."""
        metadata: dict[str, Any] = {"dispatch_id": self.dispatch_id, "node_id": self.node_ids[0]}
        return metadata if len(self.tasks) == 1 else {**metadata, "node_ids": self.node_ids}

    @property
    def cancel_requested(self) -> bool:
        """Whether this job has been cancelled; once True it stays so."""
        return self._cancel_reason is not None

    def raise_if_cancel_requested(self) -> None:
        """Stop here if this job has been cancelled.

        Raises:
            TaskCancelledError: It has; let it pass, the core turns it into an abort.
        """
        if self._cancel_reason is not None:
            raise TaskCancelledError(self._cancel_reason, dispatch_id=self.dispatch_id, node_id=self.node_ids[0])

    def report_progress(self, done: float, total: float | None = None, unit: str = "bytes") -> None:
        """Say how far the step in flight is; cheap enough to be called for every chunk."""
        self._report(done, total, unit)

    @property
    def order(self) -> dict[str, Any]:
        """What the supervisor of the runner has to know, without opening the job."""
        return {"ticket": self.ticket, "node_ids": self.node_ids, "python": self.spec["python"]}

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The job in plain built-in types, as the runner reads it. Values above a size are paths of files."""
        values: dict[int | str, tuple[str, Any]] = {}

        for task in self.tasks:
            values[f"function-{task.node_id}"] = _plain(task.function)
            values[f"call-{task.node_id}"] = _plain(task.call)
            values.update((node_id, _plain(value)) for node_id, value in task.inputs.items())

        return {
            "dispatch_id": self.dispatch_id,
            "ticket": self.ticket,
            "attempt": self.attempt,
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "workdir": "",
            "environment": {},
            "values": values,
            "tasks": [
                {"node_id": task.node_id, "function": f"function-{task.node_id}", "call": f"call-{task.node_id}"}
                for task in self.tasks
            ],
        }


def _plain(value: Value) -> tuple[str, Any]:
    return ("bytes", value) if isinstance(value, bytes) else ("file", os.fspath(value))
