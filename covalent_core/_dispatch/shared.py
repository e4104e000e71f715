"""One executor for all jobs with equal settings: created when the first needs it, entered once, closed at the end."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from anyio import Event, Lock
from anyio.abc import TaskGroup, TaskStatus

from covalent_core._dispatch.turns import Turns
from covalent_core._executors.bound import BoundExecutor
from covalent_core._executors.installed import create
from covalent_core._home import find_home
from covalent_core._lock import this_process
from covalent_core._model.graph import ExecutorSpec
from covalent_core._model.task_options import check_executor_options
from covalent_core.errors import ExecutorError, ExecutorOptionError

log = logging.getLogger(__name__)

#: Takes a job from its ticket to its release.
CarryOut: TypeAlias = Callable[[], Awaitable[None]]

#: How many jobs of an executor with ``max_workers`` may be on their way to a worker besides those that run.
AHEAD = 256


def _create(spec: ExecutorSpec) -> Any:
    try:
        return create(spec)
    except ExecutorError as error:
        # The user, in another environment perhaps, may see that all of it is there.
        raise type(error)(
            f"{error}; this was found by the dispatcher of {find_home().folder}, {this_process()}. Put it right in the "
            f"environment of that; or, if it is right in yours, run 'covalent-core stop' and dispatch again: the next "
            f"call starts a dispatcher from its own environment"
        ) from error


class SharedExecutor:
    """The executor of one spec, and the queue of the jobs that want it."""

    def __init__(self, spec: ExecutorSpec, tasks: TaskGroup) -> None:
        self._spec = spec
        self._tasks = tasks
        self._lock = Lock()
        self._closing = Event()
        self._bound: BoundExecutor | None = None
        self._queue: deque[tuple[str, CarryOut]] = deque()
        self._under_way = 0
        self.options = _usable_options(spec)
        workers = self.options.get("max_workers")
        self.turns = Turns(workers or None)
        self._most = workers + AHEAD if workers else float("inf")

    @property
    def ready(self) -> bool:
        """Whether the executor has been created and entered."""
        return self._bound is not None

    async def bound(self) -> BoundExecutor:
        """Return the executor, created and entered. An attempt that fails raises and is made again by the next call."""
        if self._bound is not None:
            return self._bound

        async with self._lock:
            if self._bound is None:
                bound = BoundExecutor(_create(self._spec))

                if hasattr(bound.executor, "__aenter__"):
                    await self._tasks.start(self._keep_open, bound, name=f"executor {self._spec.name}")

                self._bound = bound

            return self._bound

    def submit(self, name: str, carry_out: CarryOut) -> None:
        """Start a job now or, if too many are on their way already, when one of them has ended."""
        self._queue.append((name, carry_out))
        self._start_next()

    def close(self) -> None:
        """Let the executor leave its context."""
        self._closing.set()

    def _start_next(self) -> None:
        while self._queue and self._under_way < self._most:
            name, carry_out = self._queue.popleft()
            self._under_way += 1
            self._tasks.start_soon(self._carry_out, carry_out, name=name)

    async def _carry_out(self, carry_out: CarryOut) -> None:
        await carry_out()
        self._under_way -= 1
        self._start_next()

    async def _keep_open(self, bound: BoundExecutor, *, task_status: TaskStatus[None]) -> None:
        # A context is left by the task that entered it.
        async with bound.executor:
            task_status.started()
            await self._closing.wait()


def _usable_options(spec: ExecutorSpec) -> dict[str, Any]:
    """Return the options behind `spec`, none where they do not fit: then `create` says so, at the node."""
    try:
        options: dict[str, Any] = dict(json.loads(spec.options))
        check_executor_options(spec.name, options)
    except (ExecutorOptionError, ValueError, TypeError):
        return {}

    return options
