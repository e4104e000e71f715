"""The calls of a job's hooks: none begins once the job is cancelled, and what is not known is asked again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from anyio import CancelScope, sleep

from covalent_core._dispatch.attempts import pause_after, pauses
from covalent_core._executors.bound import BoundExecutor, checked
from covalent_core._model.job import Job
from covalent_core._stops import stop
from covalent_core._store.journal import Journal
from covalent_core.errors import BackendUnreachableError, TaskCancelledError, TaskRuntimeError

log = logging.getLogger(__name__)

T = TypeVar("T")


class PackGivenUp(Exception):  # noqa: N818  (a signal, not an error)
    """Nodes of this job are cancelled and the others start again in another one."""


class ExecutorSource(Protocol):
    """Where a job gets its executor from: created when the first job of all that share it needs it.

    Attributes:
        ready: Whether it has been created.
    """

    @property
    def ready(self) -> bool: ...
    async def bound(self) -> BoundExecutor: ...


class Calls:
    """The calls of the hooks of one job.

    Args:
        check: Raises if the job is not to go on.
    """

    def __init__(self, job: Job, executor: ExecutorSource, journal: Journal, check: Callable[[], None]) -> None:
        self._job = job
        self._executor = executor
        self._journal = journal
        self._check = check
        self._scope: CancelScope | None = None

    def interrupt(self) -> None:
        """Interrupt the call in flight, or what is waited for."""
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `interrupt` end what is done within; then raise why the job is not to go on."""
        outer = self._scope

        with CancelScope() as self._scope:
            yield

        self._scope = outer
        self._check()

    def raise_if_cancelled(self) -> None:
        """Look for a cancel in the store.

        Raises:
            TaskCancelledError: There is one.
            PackGivenUp: There is one for some nodes of a pack that has not been submitted.
        """
        self._journal.look_for_orders()
        self._check()

    async def begin(self, hook: str) -> BoundExecutor:
        """Return the executor, and look for a cancel last thing before its hook is called."""
        await stop(f"before-{hook}")

        if not self._executor.ready:
            self.raise_if_cancelled()

        try:
            executor = await self._executor.bound()
        except Exception as error:
            raise failure(self._job, hook, error) from error

        self.raise_if_cancelled()
        return executor

    async def make(self, hook: str, expected: tuple[Any, ...] = (), **arguments: Any) -> Any:
        """Call a hook unless the job is cancelled, again while its backend is out of reach; interrupt it when it is."""
        executor = await self.begin(hook)

        async def call() -> Any:
            return await executor.call(hook, job=self._job, **arguments)

        try:
            with CancelScope() as self._scope:
                output = await self.until_reached(f"{executor.name}.{hook}", call)

            self._scope = None
            await stop(f"after-{hook}")
            self._check()
            return checked(executor, hook, output, expected)
        except (TaskCancelledError, PackGivenUp):
            raise
        except Exception as error:
            raise failure(self._job, hook, error) from error
        finally:
            self.report_waiting("")

    async def until_reached(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        """Return what an operation gives, asked again with growing pauses while its backend is out of reach."""
        since = clock()

        for pause in pauses():
            try:
                return await operation()
            except BackendUnreachableError as error:
                seconds = pause_after(error, pause)
                self.report_waiting(
                    f"{what} cannot reach its backend since {since}: {error}; asked again every {seconds:g} s"
                )
                log.log(logging.INFO if pause > 1 else logging.WARNING, "%s: %s: %s", self._job.ticket, what, error)

            with self.interruptible():
                await sleep(seconds)

            self.raise_if_cancelled()

        raise AssertionError("the pauses do not end")

    def report_waiting(self, text: str) -> None:
        """Let the nodes of the job say what it waits for."""
        self._job.report_waiting(text)


def clock() -> str:
    """Return the time of day, as the person who looks at a node reads it."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")


def failure(job: Job, step: str, error: Exception) -> TaskRuntimeError:
    """Return the error of a job that has failed in a step."""
    if isinstance(error, TaskRuntimeError):
        return error

    nodes = ", ".join(map(str, job.node_ids[:5])) + (f" and {len(job.node_ids) - 5} more" if job.node_ids[5:] else "")
    message = f"task {nodes} of dispatch {job.dispatch_id} failed in {step!r}: {type(error).__name__}: {error}"
    return TaskRuntimeError(message, dispatch_id=job.dispatch_id, node_id=job.node_ids[0], step=step)
