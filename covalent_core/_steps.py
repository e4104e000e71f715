"""The way of one job: through its steps, or to its end by a cancel, and always to its release."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from anyio import CancelScope, CapacityLimiter, Event, fail_after, move_on_after

from covalent_core._database import now
from covalent_core._hooks import BoundExecutor
from covalent_core._job import Job, Results
from covalent_core._journal import Journal
from covalent_core._outcomes import add_output, take_over
from covalent_core._status import Status
from covalent_core._stops import stop
from covalent_core._transitions import NodeEnd
from covalent_core.errors import ExecutorPluginError, TaskCancelledError, TaskRuntimeError

log = logging.getLogger(__name__)

#: How long a backend may take to answer `provision`; after that `find` decides.
PROVISION_SECONDS = 300.0
#: How long one attempt to cancel, find or release may take.
ATTEMPT_SECONDS = 120.0
#: The pauses between attempts to cancel: they double from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.2, 60.0


class Owner(Protocol):
    """Who a job belongs to: the walk of its dispatch."""

    def consequences(self, ends: list[NodeEnd]) -> list[NodeEnd]:
        """Return the ends that follow from these: of the nodes downstream of what did not complete."""

    def job_ended(self, run: JobRun, ends: list[NodeEnd]) -> None:
        """The ends of a job's nodes are on disk."""

    async def job_released(self, run: JobRun) -> None:
        """Nothing of a job is left."""


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


class JobRun:
    """One job on its way.

    Args:
        payload: The output of the step pickle, where a dispatcher before this one has stored it.
        resumed: Whether a dispatcher before this one has stored the job.
        ended: Whether it has also stored the ends of all its nodes: then only the release is left to do.
        cancel_since: When the first attempt to end it was made, if one was; `cancel_attempts` is how many.
    """

    def __init__(
        self,
        job: Job,
        *,
        owner: Owner,
        executor: ExecutorSource,
        journal: Journal,
        resumed: bool = False,
        ended: bool = False,
        payload: bytes | memoryview | None = None,
        cancel_since: float | None = None,
        cancel_attempts: int = 0,
    ) -> None:
        self.job = job
        job._report = self._note_progress
        self.name = f"dispatch {job.dispatch_id[:8]} job {job.ticket}"
        self._owner = owner
        self._executor = executor
        self._journal = journal
        self._resumed = resumed
        self._ended = ended
        self._payload = payload
        self._cancel_since, self._cancel_attempts = cancel_since, cancel_attempts
        # A job taken up with a location but no handle may have been accepted by its backend.
        self._asked = resumed and job.location is not None
        self._uploading = resumed
        self._holds_slot = False
        self._scope: CancelScope | None = None
        self._again = Event()
        self._left_output: Results | None = None

    def request_cancel(self, reason: str) -> None:
        """Cancel this job: interrupt the step in flight, and if it is being ended already, try again now."""
        self.job._cancel_reason = self.job._cancel_reason or reason
        self._again.set()

        if self._scope is not None:
            self._scope.cancel()

    async def carry_out(self) -> None:
        """Take the job from its ticket to its release. Nothing but the end of the dispatcher is raised."""
        if not self._ended:
            await self._carry_to_end()

        await self._release()
        await self._owner.job_released(self)

    async def _carry_to_end(self) -> None:
        """Return when the ends of the nodes are on disk and nothing of the job is alive."""
        dispatch_id = self.job.dispatch_id

        try:
            ends = await self._through_steps()
        except TaskCancelledError as error:
            await self._end_at_backend()
            ends = self._all(Status.CANCELLED, error.reason)
        except Exception as error:
            await self._end_at_backend()
            failure = self._failure("run", error)
            ends = self._all(Status.FAILED, str(failure), failure.step)

        if not self.job.cancel_requested:
            ends += self._owner.consequences(ends)
            await stop("before-end")
            await self._journal.end_nodes(dispatch_id, ends)

        await stop("after-end")

        # The first commit wins: our end, or a cancel that the commit has told us of.
        if self.job.cancel_requested:
            await self._end_at_backend()
            ends = self._all(Status.CANCELLED, self.job._cancel_reason)
            await self._journal.end_cancelled_nodes(dispatch_id, ends)

        self._owner.job_ended(self, ends)

    # --- the steps -----------------------------------------------------------------------------------------------

    async def _through_steps(self) -> list[NodeEnd]:
        job, journal = self.job, self._journal

        self._raise_if_cancelled()

        if not self._resumed:
            await journal.add_job(job.dispatch_id, job.ticket, job.attempt, job.node_ids)

        if job.location is None:
            payload = self._payload or await self._pickle()
            self._uploading = True
            job.location = await self._step("upload", _TEXT, payload=payload)
            await journal.set_location(job.ticket, job.location)

        await self._take_slot()

        if job.job_handle is None:
            job.job_handle = await self._provision()
            await journal.set_job_handle(job.dispatch_id, job.ticket, job.job_handle, job.node_ids)

        await self._step("run", location=job.location, job_handle=job.job_handle)
        self._give_slot_back()
        results = await self._step("fetch", _RESULTS, location=job.location, job_handle=job.job_handle)
        return await take_over(job, results, journal.store.values)

    async def _pickle(self) -> bytes | memoryview:
        payload: bytes | memoryview = await self._step("pickle", _BYTES)
        await self._journal.set_payload(self.job.dispatch_id, self.job.ticket, payload)
        return payload

    async def _step(self, hook: str, expected: tuple[Any, ...] = (), **arguments: Any) -> Any:
        """Call a hook unless the job is cancelled; interrupt it when it is."""
        executor = await self._begin(hook)

        try:
            with CancelScope() as self._scope:
                output = await executor.call(hook, job=self.job, **arguments)

            self._scope = None
            await stop(f"after-{hook}")
            self.job.raise_if_cancel_requested()
            return _checked(executor, hook, output, expected)
        except TaskCancelledError:
            raise
        except Exception as error:
            raise self._failure(hook, error) from error

    async def _begin(self, hook: str) -> BoundExecutor:
        """Return the executor, and look for a cancel last thing before its hook is called."""
        await stop(f"before-{hook}")

        if not self._executor.ready:
            self._raise_if_cancelled()

        try:
            executor = await self._executor.bound()
        except Exception as error:
            raise self._failure(hook, error) from error

        self._raise_if_cancelled()
        return executor

    def _raise_if_cancelled(self) -> None:
        self._journal.look_for_orders()
        self.job.raise_if_cancel_requested()

    async def _take_slot(self) -> None:
        """Wait until the executor has a worker free. A job that is running already is not made to wait."""
        if self._executor.slots is None or self.job.job_handle is not None:
            return

        with CancelScope() as self._scope:
            self._raise_if_cancelled()
            await self._executor.slots.acquire_on_behalf_of(self)
            self._holds_slot = True

        self._scope = None

    def _give_slot_back(self) -> None:
        if self._executor.slots is not None and self._holds_slot:
            self._holds_slot = False
            self._executor.slots.release_on_behalf_of(self)

    async def _provision(self) -> str:
        """Ask for compute. Not interrupted: whoever is asked must be able to say what it has accepted."""
        found = await self._find_patiently() if self._asked else None

        if found is not None:
            return found

        executor = await self._begin("provision")
        self._asked = True
        problem: Exception = TimeoutError(f"no answer within {PROVISION_SECONDS:g} s")

        with move_on_after(PROVISION_SECONDS, shield=True):
            try:
                with self._journal.expecting():
                    answer = await executor.call("provision", job=self.job, location=self.job.location)
                    # The handle is committed with those of the jobs that are being provisioned at the same time.
                    await stop("after-provision")

                return str(_checked(executor, "provision", answer, _TEXT))
            except TaskCancelledError:
                raise
            except Exception as error:
                problem = error

        # The backend may have accepted the job and its answer may be lost.
        found = await self._find_patiently()

        if found is not None:
            return found

        self._asked = False
        raise self._failure("provision", problem) from problem

    async def _find_patiently(self) -> str | None:
        """Return what the backend knows under our ticket, however long it takes to answer."""
        pause = FIRST_PAUSE

        while True:
            self.job.raise_if_cancel_requested()

            try:
                with fail_after(ATTEMPT_SECONDS):
                    return await self._find()
            except Exception as error:
                log.warning("%s: find failed, trying again in %.1f s: %r", self.name, pause, error)

            with move_on_after(pause):
                await self._again.wait()

            pause = min(2 * pause, LAST_PAUSE)

    async def _find(self) -> str | None:
        executor = await self._executor.bound()
        found = await executor.call("find", job=self.job, location=self.job.location)
        return None if found is None else str(_checked(executor, "find", found, _TEXT))

    def _failure(self, step: str, error: Exception) -> TaskRuntimeError:
        if isinstance(error, TaskRuntimeError):
            return error

        job = self.job
        nodes = ", ".join(map(str, job.node_ids))
        message = f"task {nodes} of dispatch {job.dispatch_id} failed in {step!r}: {type(error).__name__}: {error}"
        return TaskRuntimeError(message, dispatch_id=job.dispatch_id, node_id=job.node_ids[0], step=step)

    def _note_progress(self, done: float, total: float | None, unit: str) -> None:
        of = "" if total is None else f" of {total:g}"
        self._journal.note_progress(self.job.ticket, f"{done:g}{of} {unit}")

    # --- the ends ------------------------------------------------------------------------------------------------

    async def _end_at_backend(self) -> None:
        """Return when the executor has confirmed that nothing of the job is alive; try until it has."""
        pause = FIRST_PAUSE

        while self._asked or self.job.job_handle is not None:
            self._cancel_since = self._cancel_since or now()
            self._cancel_attempts += 1
            self._again = Event()
            problem = await self._cancel_once()

            if problem is None:
                self._asked, self.job.job_handle = False, None

            if problem or self._cancel_attempts > 1:
                await self._journal.set_cancel_attempt(
                    self.job.ticket,
                    self._cancel_since,
                    self._cancel_attempts,
                    problem,
                    now() + pause if problem else None,
                )

            if problem:
                log.warning("%s: attempt %d to cancel failed: %s", self.name, self._cancel_attempts, problem)

                with move_on_after(pause):
                    await self._again.wait()

                pause = min(2 * pause, LAST_PAUSE)

        self._give_slot_back()

    async def _cancel_once(self) -> str | None:
        """Ask the executor to end the job; return what went wrong, or None if nothing of it is alive."""
        job = self.job

        try:
            with fail_after(ATTEMPT_SECONDS):
                job.job_handle = job.job_handle or await self._find()

                if job.job_handle is not None:
                    executor = await self._executor.bound()
                    arguments = {"job_handle": job.job_handle, "job": job, "location": job.location}
                    await stop("before-cancel")
                    left = await executor.call("cancel", task_metadata=job.task_metadata, **arguments)
                    self._left_output = left if isinstance(left, _RESULTS) else None
        except Exception as error:
            return f"{type(error).__name__}: {error}"

        return None

    async def _release(self) -> None:
        error = None

        if self._uploading:
            try:
                executor = await self._executor.bound()
                await stop("before-release")

                with fail_after(ATTEMPT_SECONDS):
                    await executor.call("release", job=self.job, location=self.job.location)
            except Exception as problem:
                error = f"release failed: {type(problem).__name__}: {problem}"
                log.warning("%s: %s", self.name, error)

        await self._journal.close_job(self.job.dispatch_id, self.job.ticket, error)

    def _all(self, status: Status, error: str | None, step: str | None = None) -> list[NodeEnd]:
        ends = [NodeEnd(node_id, status, error, step) for node_id in self.job.node_ids]

        if self._left_output:
            add_output(self.job, self._left_output, ends)

        return ends


_TEXT = (str,)
_BYTES = (bytes, memoryview)
_RESULTS = (str, os.PathLike, Mapping)


def _checked(executor: BoundExecutor, hook: str, output: Any, expected: tuple[Any, ...]) -> Any:
    """Return what a hook gave if it is of an expected type and not empty."""
    if not expected or (isinstance(output, expected) and output):
        return output

    kinds = " or ".join(kind.__name__ for kind in expected)
    raise ExecutorPluginError(f"{executor.name}.{hook} returned {output!r}, expected {kinds}, not empty")
