"""What a job has at its backend: asked for once, found again where the answer was lost, ended and that confirmed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from anyio import CapacityLimiter, fail_after, move_on_after

from covalent_core._dispatch.attempts import ATTEMPT_SECONDS, Attempts, pauses
from covalent_core._executors.bound import RESULTS, TEXT, BoundExecutor, checked
from covalent_core._model.job import Job, Results
from covalent_core._stops import stop
from covalent_core._store.journal import Journal
from covalent_core.errors import TaskCancelledError

log = logging.getLogger(__name__)

#: How long a backend may take to answer `provision`; after that `find` decides.
PROVISION_SECONDS = 300.0


class ExecutorSource(Protocol):
    """Where a job gets its executor from: created when the first job of all that share it needs it.

    Attributes:
        ready: Whether it has been created.
        slots: What limits how many of its jobs run at once, if anything does.
    """

    @property
    def ready(self) -> bool: ...
    @property
    def slots(self) -> CapacityLimiter | None: ...
    async def bound(self) -> BoundExecutor: ...


class PackGivenUp(Exception):  # noqa: N818  (a signal, not an error)
    """Nodes of this job are cancelled and the others start again in another one."""


class Compute:
    """The compute of one job.

    Args:
        asked: Whether a dispatcher before this one may have asked the backend for it.

    Attributes:
        asked: Whether the backend may have something of the job.
        left: The result files that `cancel` gave when the job was ended, if it did.
    """

    def __init__(
        self, job: Job, executor: ExecutorSource, journal: Journal, attempts: Attempts, *, asked: bool
    ) -> None:
        self.asked = asked
        self.left: Results | None = None
        self._job = job
        self._executor = executor
        self._journal = journal
        self._attempts = attempts

    async def provision(self, begin: Callable[[str], Awaitable[BoundExecutor]]) -> str:
        """Return the job handle. Not interrupted: whoever is asked must be able to say what it has accepted.

        Args:
            begin: Looks for a cancel last thing before the hook is called, and returns the executor.
        """
        found = await self._find_patiently() if self.asked else None

        if found is not None:
            return found

        executor = await begin("provision")
        self.asked = True
        problem: Exception = TimeoutError(f"no answer within {PROVISION_SECONDS:g} s")

        with move_on_after(PROVISION_SECONDS, shield=True):
            try:
                answer = await executor.call("provision", job=self._job, location=self._job.location)
                await stop("after-provision")
                return str(checked(executor, "provision", answer, TEXT))
            except (TaskCancelledError, PackGivenUp):
                raise
            except Exception as error:
                problem = error

        # The backend may have accepted the job and its answer may be lost.
        found = await self._find_patiently()

        if found is not None:
            return found

        self.asked = False
        raise problem

    async def end(self) -> None:
        """Return when the executor has confirmed that nothing of the job is alive; try until it has."""
        if self.asked or self._job.job_handle is not None:
            await self._attempts.make(self._end_once)
            self.asked, self._job.job_handle = False, None

    async def _end_once(self) -> None:
        """Ask the executor to end the job; when this returns, nothing of it is alive."""
        job = self._job
        job.job_handle = job.job_handle or await self._find()

        if job.job_handle is not None:
            executor = await self._executor.bound()
            arguments = {"job_handle": job.job_handle, "job": job, "location": job.location}
            await stop("before-cancel")
            left = await executor.call("cancel", task_metadata=job.task_metadata, **arguments)
            self.left = left if isinstance(left, RESULTS) else None

    async def _find_patiently(self) -> str | None:
        """Return what the backend knows under our ticket, however long it takes to answer."""
        for pause in pauses():
            self._job.raise_if_cancel_requested()

            try:
                with fail_after(ATTEMPT_SECONDS):
                    return await self._find()
            except Exception as error:
                log.warning("job %s: find failed, trying again in %.1f s: %r", self._job.ticket, pause, error)

            await self._attempts.pause(pause)

        raise AssertionError("the pauses do not end")

    async def _find(self) -> str | None:
        executor = await self._executor.bound()
        found = await executor.call("find", job=self._job, location=self._job.location)
        return None if found is None else str(checked(executor, "find", found, TEXT))
