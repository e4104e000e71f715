"""The way of one job: through its steps, or to its end by a cancel, and always to its release."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

from anyio import CancelScope, current_time, fail_after, move_on_after

from covalent_core._dispatch.attempts import ATTEMPT_SECONDS, Attempts, GivenUp, pause_after, pauses
from covalent_core._dispatch.calls import Calls, PackGivenUp, failure
from covalent_core._dispatch.compute import Compute
from covalent_core._dispatch.ends import Ends, Owner
from covalent_core._dispatch.members import Members
from covalent_core._dispatch.outcomes import take_over
from covalent_core._dispatch.turns import Shared
from covalent_core._executors.bound import BYTES, RESULTS, TEXT
from covalent_core._model.cancellation import Haste
from covalent_core._model.job import Job
from covalent_core._model.status import Status
from covalent_core._stops import stop
from covalent_core._store.journal import Journal
from covalent_core._store.transitions import NodeEnd
from covalent_core.backend.results import release_results
from covalent_core.errors import BackendUnreachableError, TaskCancelledError, TaskRuntimeError

log = logging.getLogger(__name__)

#: How long, in seconds, `release` is tried while its backend is out of reach, and how often whatever else it raises.
RELEASE_SECONDS, RELEASES = 600.0, 5


class JobOwner(Owner, Protocol):
    """The walk of a dispatch, as its jobs see it."""

    async def job_released(self, run: JobRun) -> None:
        """Nothing of a job is left."""


class JobRun:
    """One job on its way.

    Args:
        payload: The output of the step pickle, where a dispatcher before this one has stored it.
        resumed: Whether a dispatcher before this one has stored the job.
        open_nodes: The nodes whose end is still to come; None: all. Where there are none, only the release is left.
        cancel_since: When the first attempt to end it was made, if one was; `cancel_attempts` is how many.
    """

    def __init__(
        self,
        job: Job,
        *,
        owner: JobOwner,
        executor: Shared,
        journal: Journal,
        resumed: bool = False,
        open_nodes: set[int] | None = None,
        payload: bytes | memoryview | None = None,
        cancel_since: float | None = None,
        cancel_attempts: int = 0,
    ) -> None:
        self.job = job
        job._report = self._note_progress
        job._show = partial(journal.note_output, job.dispatch_id)
        job._wait = partial(journal.note_waiting, job.ticket)
        job._use = lambda usage: journal.note_usage(job.ticket, usage.as_text())
        job._siblings = lambda: executor.turns.coming(job.dispatch_id) - self._is_coming
        self.name = f"dispatch {job.dispatch_id[:8]} job {job.ticket}"
        self.values = journal.store.values
        self._owner = owner
        self._executor = executor
        self._journal = journal
        self._resumed = resumed
        self._payload = payload
        self.ends = Ends(job, owner, journal, set(job.node_ids) if open_nodes is None else open_nodes)
        self.attempts = Attempts(journal, job.ticket, grace=job.grace, since=cancel_since, count=cancel_attempts)
        self._calls = Calls(job, executor, journal, self._raise_if_stopped)
        self._compute = Compute(
            job,
            executor=executor,
            calls=self._calls,
            attempts=self.attempts,
            # A job taken up with a location but no handle may have been accepted by its backend.
            asked=resumed and job.location is not None,
        )
        self._members = Members(self) if len(job.tasks) > 1 else None
        self._uploading = resumed
        self._given_up = False
        self._holds_slot = False
        self._is_coming = False

    def request_cancel(self, reasons: Mapping[int, str]) -> None:
        """Cancel nodes of this job: interrupt the step in flight if no other is left that needs it.

        If they are being ended already, try again now.
        """
        ends = self.ends
        ends.cancelled |= {node_id: reason for node_id, reason in reasons.items() if node_id in ends.open}

        if not reasons:
            return

        if ends.open <= ends.cancelled.keys():
            self.job._cancel_reason = self.job._cancel_reason or ends.cancelled[min(ends.cancelled)]
            self._calls.interrupt()
        elif self._members is not None:
            self._members.look_again()

        self.attempts.hurry()

    def hasten(self, haste: Mapping[int, Haste]) -> None:
        """Give nodes that are being ended less time, and wait no longer than one more attempt for the proof.

        Args:
            haste: By node, what has been said of that.
        """
        stopped, job = self.ends.stopped, self.job
        graces = [haste[node_id].grace if node_id in haste else None for node_id in stopped]
        grace = min(job.grace, max((job.grace if asked is None else asked for asked in graces), default=job.grace))
        is_sooner, job._cancel_grace = grace < job.cancel_grace, grace

        if is_sooner:
            self.attempts.begin_anew()

        for node_id in sorted(stopped & haste.keys()):
            if by := haste[node_id].given_up_by:
                self.attempts.give_up(by)

    async def carry_out(self) -> None:
        """Take the job from its ticket to its release. Nothing but the end of the dispatcher is raised."""
        self._come(self.job.job_handle is None and bool(self.ends.open))

        if self.ends.open:
            await self._carry_to_end()

        await self._release()
        await self._owner.job_released(self)

    async def _carry_to_end(self) -> None:
        """Return when the ends of the nodes are on disk and nothing of the job is alive."""
        try:
            ends = await self._through_steps()
        except TaskCancelledError as error:
            await self._end_at_backend()
            ends = self.ends.all(Status.CANCELLED, error.reason, left=self._compute.left)
        except PackGivenUp:
            await self._end_at_backend()
            ends = await self.ends.completed(self._compute.left)
        except Exception as error:
            await self._end_at_backend()
            ends = self.ends.failed(failure(self.job, "run", error), self._compute.left)

        if not self.job.cancel_requested:
            await stop("before-end")
            await self.ends.store(ends, last=True)

        await stop("after-end")

        # The first commit wins: our end, or a cancel that the commit has told us of.
        if self.ends.stopped:
            await self._end_at_backend()
            await self.ends.store_cancelled(self.ends.stopped, self._compute.left)

    # --- the steps -----------------------------------------------------------------------------------------------

    async def _through_steps(self) -> list[NodeEnd]:
        job, journal, calls = self.job, self._journal, self._calls

        calls.raise_if_cancelled()

        if not self._resumed:
            await journal.add_job(job.dispatch_id, job.ticket, job.attempt, job.node_ids)

        if job.location is None:
            payload = self._payload or await self._pickle()
            self._uploading = True
            job.location = await calls.make("upload", TEXT, payload=payload)
            await journal.set_location(job.ticket, job.location)

        await self._take_slot()

        if job.job_handle is None:
            job.job_handle = await self._provision()
            await journal.set_job_handle(job.dispatch_id, job.ticket, job.job_handle, job.node_ids)

        last_words = await self._run()
        self._give_slot_back()

        if not self.ends.open:
            # All has been reported: a fetch that hangs must not keep a dispatch open in which nothing can be cancelled.
            with move_on_after(ATTEMPT_SECONDS):
                await calls.make("fetch", RESULTS, location=job.location, job_handle=job.job_handle)

            return []

        results = await calls.make("fetch", RESULTS, location=job.location, job_handle=job.job_handle)
        return await take_over(job, self.ends.open, results, self.values, last_words)

    async def _pickle(self) -> bytes | memoryview:
        payload: bytes | memoryview = await self._calls.make("pickle", BYTES)
        await self._journal.set_payload(self.job.dispatch_id, self.job.ticket, payload)
        return payload

    async def _provision(self) -> str:
        """Ask for compute, or find what a dispatcher before this one has asked for."""
        self._come(False)

        try:
            return await self._compute.provision()
        except (TaskCancelledError, TaskRuntimeError, PackGivenUp):
            raise
        except Exception as error:
            raise failure(self.job, "provision", error) from error

    async def _run(self) -> str:
        """The step run; for a pack, its nodes are attended to meanwhile. Return the last words of the backend."""
        arguments: dict[str, Any] = {"location": self.job.location, "job_handle": self.job.job_handle}

        if self._members is None:
            return str(await self._calls.make("run", **arguments) or "")

        async with self._members.attended():
            return str(await self._calls.make("run", **arguments) or "")

    def _raise_if_stopped(self) -> None:
        self.job.raise_if_cancel_requested()

        # While nothing has been asked of the backend, the nodes that are not cancelled lose nothing in another job.
        if self._given_up or (self.ends.cancelled and not self._compute.asked):
            raise PackGivenUp

    # --- turns -----------------------------------------------------------------------------------------------------

    async def _take_slot(self) -> None:
        """Wait until the executor has a worker free. A job that is running already is not made to wait."""
        slots = self._executor.turns.slots

        if slots is not None and self.job.job_handle is None:
            self._come(False)

            with self._calls.interruptible():
                self._calls.raise_if_cancelled()
                await slots.acquire_on_behalf_of(self)
                self._holds_slot = True

        self._come(self.job.job_handle is None)

    def _give_slot_back(self) -> None:
        slots = self._executor.turns.slots

        if slots is not None and self._holds_slot:
            self._holds_slot = False
            slots.release_on_behalf_of(self)

    def _come(self, is_coming: bool) -> None:
        """Let others of the same dispatch know whether this job is on its way to `provision`."""
        self._executor.turns.come(self.job.dispatch_id, is_coming - self._is_coming)
        self._is_coming = is_coming

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _end_at_backend(self) -> None:
        """Return when the executor has confirmed that nothing of the job is alive; try until it has."""
        self._come(False)

        while True:
            try:
                await self._compute.end()
                break
            except GivenUp as words:
                await self._store_given_up(self.ends.stopped, words)

            # Before nodes that nobody has given up start again, this job must have ended.
            if not self.ends.open:
                break

        self._give_slot_back()

    async def _store_given_up(self, node_ids: Collection[int], words: GivenUp) -> None:
        await self.ends.store_given_up(node_ids, str(words))

        if self.ends.open:
            self.attempts.go_on()

    async def cancel_members(self, node_ids: Collection[int]) -> None:
        """End some nodes of a pack while the others go on."""
        try:
            await self.attempts.make(partial(self._cancel_members_once, node_ids))
        except GivenUp as words:
            await self._store_given_up(node_ids, words)

    async def _cancel_members_once(self, node_ids: Collection[int]) -> None:
        job, executor = self.job, await self._executor.bound()

        if not executor.cancels_members:
            self._give_up_pack()
            return

        arguments = {"job": job, "location": job.location, "job_handle": job.job_handle}
        await stop("before-cancel")
        results = await executor.call("cancel_members", **arguments, node_ids=sorted(node_ids))

        with CancelScope(shield=True):
            await self.ends.store_cancelled(node_ids, results if isinstance(results, RESULTS) else None)

    def _give_up_pack(self) -> None:
        """End the job for the nodes that are cancelled; the others start again in another one."""
        self._given_up = True
        self._calls.interrupt()

    async def _release(self) -> None:
        """Call `release` until it has succeeded; what it raises again and again is kept with the job."""
        self._come(False)
        latest, error = current_time() + RELEASE_SECONDS, None

        for count, pause in enumerate(pauses(), 1):
            problem = await self._release_once() if self._uploading else None
            error = None if problem is None else f"release failed: {type(problem).__name__}: {problem}"
            unreachable = isinstance(problem, BackendUnreachableError) and current_time() < latest

            if problem is None or self.attempts.given_up or not (unreachable or count < RELEASES):
                break

            log.warning("%s: %s", self.name, error)
            self.job.report_waiting(f"{error}; it is tried again")
            await self.attempts.pause(pause_after(problem, pause))

        release_results(self.job.ticket)
        await self._journal.close_job(self.job.dispatch_id, self.job.ticket, error)

    async def _release_once(self) -> Exception | None:
        """Return what went wrong, or None."""
        try:
            executor = await self._executor.bound()
            await stop("before-release")

            with fail_after(ATTEMPT_SECONDS):
                await executor.call("release", job=self.job, location=self.job.location)
        except Exception as error:
            return error

        return None

    def _note_progress(self, done: float, total: float | None, unit: str) -> None:
        of = "" if total is None else f" of {total:g}"
        self._journal.note_progress(self.job.ticket, f"{done:g}{of} {unit}")
