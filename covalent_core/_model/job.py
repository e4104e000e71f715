"""A job, as the hooks of an executor see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from covalent_core._model.usage import Usage
from covalent_core.errors import TaskCancelledError

#: Pickled bytes, in memory or, where they are many, in a file.
Value: TypeAlias = bytes | Path

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

#: The result files that the runner wrote: a folder with them, or by name what is in each, as bytes or as a file.
Results: TypeAlias = str | os.PathLike[str] | Mapping[str, Value]

#: Seconds between SIGTERM and SIGKILL where neither the electron nor the executor says otherwise.
DEFAULT_GRACE = 5.0


@dataclass(frozen=True)
class Perhaps:
    """What `find` gives while it is not known whether the backend has a job, or may still take it.

    Attributes:
        why: What is waited for, for the person who looks at the node.
    """

    why: str


@dataclass(frozen=True)
class TaskCall:
    """One node of a job: which function is called with what.

    Attributes:
        function: The pickled function.
        call: The pickled ``(args, kwargs)``.
        function_sources: The nodes whose outputs stand in `function`, where it has the persistent ids 0, 1, …
        call_sources: As `function_sources`, for `call`.
        inputs: Of these outputs those that are known, by node id; the others come from nodes of the same job.
        needs: Every node that must have completed before this one, those outputs' nodes among them.
        attempt: 0 for the first attempt at this node.
        timeout: Seconds that the function may take, None for ever. The runner sees to it; an executor that runs
            something else must.
        fresh: Whether it needs a process in which nothing has been imported yet.
        graph: Whether the function builds the graph of a sublattice, and its output is to be kept as it is.
    """

    node_id: int
    name: str
    function: Value
    call: Value
    function_sources: Sequence[int] = ()
    call_sources: Sequence[int] = ()
    inputs: Mapping[int, Value] = field(default_factory=dict)
    needs: Sequence[int] = ()
    attempt: int = 0
    timeout: float | None = None
    fresh: bool = False
    graph: bool = False


@dataclass
class Job:
    """What an executor runs: one node, or several that were packed together.

    Attributes:
        dispatch_id: The dispatch the nodes belong to.
        ticket: Our own unique name for this job; name the job at the backend so, and `find` can find it again.
            At most 50 characters: letters, digits and hyphens.
        attempt: 0 for the first attempt at the first of these nodes.
        tasks: The nodes, in the order in which they are to run.
        grace: Seconds a task is given to end by itself when it is cancelled.
        workdir: The directory in which the tasks run, seen from where the runner is started; an executor may set it in
            `pickle`. Default: there.
        environment: Environment variables for the tasks; an executor may set it in `pickle`.
        values_folder: The absolute path of a folder where the tasks run. If an executor sets it in `pickle`, the values
            that are files do not travel in the bundle; they must be there, under the names of `value_files`, when the
            job starts.
        location: What `upload` returned, once it has.
        job_handle: What `provision` returned, once it has.
        lattice: The name of the lattice, for people who look at the backend.
    """

    dispatch_id: str
    ticket: str
    attempt: int
    tasks: tuple[TaskCall, ...]
    grace: float = DEFAULT_GRACE
    workdir: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    values_folder: str = ""
    location: str | None = None
    job_handle: str | None = None
    lattice: str = ""
    _cancel_reason: str | None = field(default=None, repr=False)
    _cancel_grace: float | None = field(default=None, repr=False)
    _bar: bool = field(default=False, repr=False)
    _siblings: Callable[[], int] = field(default=lambda: 0, repr=False)
    _wait: Callable[[str], None] = field(default=lambda _: None, repr=False)
    _report: Callable[[float, float | None, str], None] = field(default=lambda *_: None, repr=False)
    _show: Callable[[int, str, str], None] = field(default=lambda *_: None, repr=False)
    _use: Callable[[Usage], None] = field(default=lambda _: None, repr=False)
    _take: Callable[[Mapping[str, Value]], None] = field(default=lambda _: None, repr=False)

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

    @property
    def cancel_reason(self) -> str:
        """Why this job has been cancelled, as the core shows it; empty if it has not been."""
        return self._cancel_reason or ""

    @property
    def cancel_grace(self) -> float:
        """Seconds that what is being ended is given: `grace`, or less where whoever cancels says so.

        It can become less while `cancel` or `cancel_members` runs; then that is broken off, and called again.
        """
        return self.grace if self._cancel_grace is None else self._cancel_grace

    @property
    def barred(self) -> bool:
        """Whether nothing may start under this job's ticket any more; once True it stays so."""
        return self.cancel_requested or self._bar

    @property
    def siblings_coming(self) -> int:
        """How many jobs of this dispatch with the same executor are on their way to `provision` besides this one.

        Who can submit many jobs at once need not guess how long to wait for them. May be read from any thread.
        """
        return self._siblings()

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

    def report_waiting(self, text: str) -> None:
        """Say what this job waits for; shown at its nodes until the step in flight has ended, or ``""`` is reported.

        Each call takes the place of the one before. From any hook and any thread; cheap enough for every look.
        """
        self._wait(text)

    def report_usage(self, usage: Usage) -> None:
        """Say what this job costs; kept with it, and shown at its nodes also when it has ended.

        Each call takes the place of the one before. What was reported when `release` returns is on disk before the job
        is closed. From any hook and any thread; where the cost takes a look that may last, say it from a thread, so
        that no step waits for it.

        Raises:
            TypeError: It is not a `Usage`.
        """
        if not isinstance(usage, Usage):
            raise TypeError(f"report_usage takes a Usage, not {type(usage).__name__}")

        self._use(usage)

    def report_output(self, node_id: int, stdout: str, stderr: str) -> None:
        """Show what a task that is running has written so far; each call takes the place of the one before.

        Optional: what it has written comes with its outcome. Only from `run`; cheap enough to be called every second.

        Raises:
            TypeError: What it has written is not text.
        """
        if not (isinstance(stdout, str) and isinstance(stderr, str)):
            raise TypeError(f"report_output takes text, not {type(stdout).__name__} and {type(stderr).__name__}")

        self._show(node_id, stdout, stderr)

    def report_results(self, results: Mapping[str, Value]) -> None:
        """Hand over result files of nodes of a pack that have ended while others run, so that they can be seen.

        Optional: what has not been handed over when `run` returns is taken from `fetch`. Only from `run`.
        """
        self._take(results)

    @property
    def value_files(self) -> dict[str, Path]:
        """The values that are files, each under a name that no other one of this job has."""
        return {f"{key}.value": value for key, value in self._values().items() if isinstance(value, Path)}

    @property
    def order(self) -> dict[str, Any]:
        """What the supervisor of the runner has to know, without opening the job."""
        order: dict[str, Any] = {"ticket": self.ticket, "node_ids": self.node_ids, "python": PYTHON}
        timeouts = {task.node_id: task.timeout for task in self.tasks if task.timeout is not None}
        order |= {"timeouts": timeouts} if timeouts else {}
        return order | ({"fresh": True} if any(task.fresh for task in self.tasks) else {})

    @property
    def spec(self) -> dict[str, Any]:
        """The job in plain built-in types, as the runner reads it. Values above a size are paths of files."""
        functions = self._functions()
        return {
            "dispatch_id": self.dispatch_id,
            "ticket": self.ticket,
            "python": PYTHON,
            "workdir": self.workdir,
            "environment": self.environment,
            "values": {key: self._plain(key, value) for key, value in self._values().items()},
            "tasks": [_task_spec(task, functions[task.function]) for task in self.tasks],
        }

    def _functions(self) -> dict[Value, str]:
        """Return the functions, each with its key: nodes that are packed together often call the same one."""
        functions: dict[Value, str] = {}

        for task in self.tasks:
            functions.setdefault(task.function, f"function-{task.node_id}")

        return functions

    def _values(self) -> dict[int | str, Value]:
        """Return all values of the job, each under a key: that of an output is the id of its node."""
        values: dict[int | str, Value] = {key: function for function, key in self._functions().items()}

        for task in self.tasks:
            values[f"call-{task.node_id}"] = task.call

            for node_id, value in task.inputs.items():
                values[node_id] = value

        return values

    def _plain(self, key: int | str, value: Value) -> tuple[str, Any]:
        if isinstance(value, bytes):
            return "bytes", value

        return "file", f"{self.values_folder}/{key}.value" if self.values_folder else os.fspath(value)


def _task_spec(task: TaskCall, function: str) -> dict[str, Any]:
    sources = {"function_sources": list(task.function_sources), "call_sources": list(task.call_sources)}
    call = {"node_id": task.node_id, "function": function, "call": f"call-{task.node_id}"}
    return {**call, **sources, "needs": list(task.needs), "attempt": task.attempt, "graph": task.graph}
