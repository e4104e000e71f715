"""The way of one job: through its steps, or to its end by a cancel, and always to its release."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from anyio import CancelScope, fail_after, to_thread

from covalent_core._dispatch.attempts import ATTEMPT_SECONDS, Attempts
from covalent_core._dispatch.compute import Compute, ExecutorSource, PackGivenUp
from covalent_core._dispatch.members import Members
from covalent_core._dispatch.outcomes import add_output, in_results, take_over
from covalent_core._executors.bound import BYTES, RESULTS, TEXT, BoundExecutor, checked
from covalent_core._model.exchange import from_json
from covalent_core._model.job import Job, Results
from covalent_core._model.status import Status
from covalent_core._stops import stop
from covalent_core._store.database import is_transient
from covalent_core._store.journal import Journal
from covalent_core._store.transitions import NodeEnd, Requeue
from covalent_core.errors import GraphError, JobEndedError, TaskCancelledError, TaskRuntimeError

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who a job belongs to: the walk of its dispatch."""

    def settle(self, ends: list[NodeEnd]) -> tuple[list[NodeEnd], list[Requeue]]:
        """Say what ends come to: which are the last, with what follows from them, and which nodes try again."""

    def give_back(self, node_ids: Iterable[int]) -> list[Requeue]:
        """Let nodes of a job that has been given up start again."""

    def nodes_ended(self, ends: Iterable[NodeEnd], again: Iterable[Requeue] = ()) -> None:
        """Ends of nodes are on disk, and which are to start again."""

    def sublattice_stored(self, node_id: int, dispatch_id: str) -> None:
        """The graph that a node has built is a dispatch now."""

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
        owner: Owner,
        executor: ExecutorSource,
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
        self.name = f"dispatch {job.dispatch_id[:8]} job {job.ticket}"
        self._owner = owner
        self._executor = executor
        self.journal = journal
        self._resumed = resumed
        self._payload = payload
        self.attempts = Attempts(journal, job.ticket, cancel_since, cancel_attempts)
        # A job taken up with a location but no handle may have been accepted by its backend.
        self._compute = Compute(job, executor, journal, self.attempts, asked=resumed and job.location is not None)
        self.open_nodes = set(job.node_ids) if open_nodes is None else open_nodes
        self.cancelled: dict[int, str] = {}
        self._members = Members(self) if len(job.tasks) > 1 else None
        self._uploading = resumed
        self._given_up = False
        self._holds_slot = False
        self._scope: CancelScope | None = None

    def request_cancel(self, reasons: Mapping[int, str]) -> None:
        """Cancel nodes of this job: interrupt the step in flight if no other is left that needs it.

        If they are being ended already, try again now.
        """
        self.cancelled |= {node_id: reason for node_id, reason in reasons.items() if node_id in self.open_nodes}

        if not reasons:
            return

        if self.open_nodes <= self.cancelled.keys():
            self.job._cancel_reason = self.job._cancel_reason or self.cancelled[min(self.cancelled)]
            self.interrupt()
        elif self._members is not None:
            self._members.look_again()

        self.attempts.hurry()

    def interrupt(self) -> None:
        """Interrupt the step in flight."""
        if self._scope is not None:
            self._scope.cancel()

    async def carry_out(self) -> None:
        """Take the job from its ticket to its release. Nothing but the end of the dispatcher is raised."""
        if self.open_nodes:
            await self._carry_to_end()

        await self._release()
        await self._owner.job_released(self)

    async def _carry_to_end(self) -> None:
        """Return when the ends of the nodes are on disk and nothing of the job is alive."""
        try:
            ends = await self._through_steps()
        except TaskCancelledError as error:
            await self._end_at_backend()
            ends = self._all(Status.CANCELLED, error.reason)
        except PackGivenUp:
            await self._end_at_backend()
            ends = await self._saved()
        except Exception as error:
            await self._end_at_backend()
            ends = self._failed(self._failure("run", error))

        if not self.job.cancel_requested:
            await stop("before-end")
            await self.end_nodes(ends, last=True)

        await stop("after-end")

        # The first commit wins: our end, or a cancel that the commit has told us of.
        if stopped := self.open_nodes & self.cancelled.keys():
            await self._end_at_backend()
            await self.end_cancelled_nodes(stopped, self._compute.left)

    async def end_nodes(self, ends: list[NodeEnd], *, last: bool = False) -> None:
        """Store how nodes ended, what follows from it, and which are to start again.

        Args:
            last: The job has ended: what has no end by now starts again in another.
        """
        ends = [end for end in ends if end.node_id not in self.cancelled]

        for end in [end for end in ends if end.graph is not None]:
            ends.remove(end)
            ends += await self._add_sublattice(end)

        ends, again = self._owner.settle(ends)

        if last:
            settled = {end.node_id for end in ends} | {requeue.node_id for requeue in again}
            again += self._owner.give_back(self.open_nodes - settled - self.cancelled.keys())

        await self.journal.end_nodes(self.job.dispatch_id, ends, again)
        settled = {end.node_id for end in ends} | {requeue.node_id for requeue in again}
        self.open_nodes -= settled - self.cancelled.keys()
        self._owner.nodes_ended(ends, again)

    async def end_cancelled_nodes(self, node_ids: Collection[int], results: Results | None) -> None:
        """Store that nothing of these nodes is alive any more, with what they had written until then."""
        ends = [NodeEnd(node_id, Status.CANCELLED, self.cancelled[node_id]) for node_id in sorted(node_ids)]

        if results is not None:
            add_output(self.job, results, ends)

        await self.journal.end_cancelled_nodes(self.job.dispatch_id, ends)
        self.open_nodes -= {end.node_id for end in ends}
        self._owner.nodes_ended(ends)

    async def _add_sublattice(self, end: NodeEnd) -> list[NodeEnd]:
        """Store the graph that a node has built, unless the node is cancelled; return its end if it is no graph."""
        assert end.graph is not None
        store, dispatch_id = self.journal.store, self.job.dispatch_id

        try:
            graph = from_json(store.values.read(end.graph))
        except GraphError as error:
            return [NodeEnd(end.node_id, Status.FAILED, str(error), "run", end.started, end.ended)]

        await stop("before-sublattice")

        try:
            child = await to_thread.run_sync(store.add_sublattice, dispatch_id, end.node_id, graph)
        except Exception as error:
            if is_transient(error):
                raise

            message = f"the graph of the sublattice cannot be stored: {type(error).__name__}: {error}"
            return [NodeEnd(end.node_id, Status.FAILED, message, "run", end.started, end.ended)]

        await stop("after-sublattice")
        self.journal.look_for_orders()

        if child is not None:
            self.open_nodes.discard(end.node_id)
            self.cancelled.pop(end.node_id, None)
            self._owner.sublattice_stored(end.node_id, child)

        return []

    # --- the steps -----------------------------------------------------------------------------------------------

    async def _through_steps(self) -> list[NodeEnd]:
        job, journal = self.job, self.journal

        self._raise_if_cancelled()

        if not self._resumed:
            await journal.add_job(job.dispatch_id, job.ticket, job.attempt, job.node_ids)

        if job.location is None:
            payload = self._payload or await self._pickle()
            self._uploading = True
            job.location = await self._step("upload", TEXT, payload=payload)
            await journal.set_location(job.ticket, job.location)

        await self._take_slot()

        if job.job_handle is None:
            job.job_handle = await self._provision()
            await journal.set_job_handle(job.dispatch_id, job.ticket, job.job_handle, job.node_ids)

        await self._run()
        self._give_slot_back()

        if not self.open_nodes:
            # All has been reported: a fetch that hangs would keep a dispatch open in which nothing can be cancelled.
            return []

        results = await self._step("fetch", RESULTS, location=job.location, job_handle=job.job_handle)
        return await take_over(job, self.open_nodes, results, journal.store.values)

    async def _run(self) -> None:
        """The step run; for a pack, its nodes are attended to meanwhile."""
        arguments: dict[str, Any] = {"location": self.job.location, "job_handle": self.job.job_handle}

        if self._members is None:
            await self._step("run", **arguments)
            return

        async with self._members.attended():
            await self._step("run", **arguments)

    async def _pickle(self) -> bytes | memoryview:
        payload: bytes | memoryview = await self._step("pickle", BYTES)
        await self.journal.set_payload(self.job.dispatch_id, self.job.ticket, payload)
        return payload

    async def _step(self, hook: str, expected: tuple[Any, ...] = (), **arguments: Any) -> Any:
        """Call a hook unless the job is cancelled; interrupt it when it is."""
        executor = await self._begin(hook)

        try:
            with CancelScope() as self._scope:
                output = await executor.call(hook, job=self.job, **arguments)

            self._scope = None
            await stop(f"after-{hook}")
            self._raise_if_stopped()
            return checked(executor, hook, output, expected)
        except (TaskCancelledError, PackGivenUp):
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
        self.journal.look_for_orders()
        self._raise_if_stopped()

    def _raise_if_stopped(self) -> None:
        self.job.raise_if_cancel_requested()

        # While nothing has been asked of the backend, the nodes that are not cancelled lose nothing in another job.
        if self._given_up or (self.cancelled and not self._compute.asked):
            raise PackGivenUp

    def give_up(self) -> None:
        """End the job for the nodes that are cancelled; the others start again in another one."""
        self._given_up = True
        self.interrupt()

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
        """Ask for compute, or find what a dispatcher before this one has asked for."""
        try:
            return await self._compute.provision(self._begin)
        except (TaskCancelledError, TaskRuntimeError, PackGivenUp):
            raise
        except Exception as error:
            raise self._failure("provision", error) from error

    def _failure(self, step: str, error: Exception) -> TaskRuntimeError:
        if isinstance(error, TaskRuntimeError):
            return error

        job = self.job
        nodes = ", ".join(map(str, job.node_ids))
        message = f"task {nodes} of dispatch {job.dispatch_id} failed in {step!r}: {type(error).__name__}: {error}"
        return TaskRuntimeError(message, dispatch_id=job.dispatch_id, node_id=job.node_ids[0], step=step)

    def _note_progress(self, done: float, total: float | None, unit: str) -> None:
        of = "" if total is None else f" of {total:g}"
        self.journal.note_progress(self.job.ticket, f"{done:g}{of} {unit}")

    # --- the ends ------------------------------------------------------------------------------------------------

    async def _end_at_backend(self) -> None:
        """Return when the executor has confirmed that nothing of the job is alive; try until it has."""
        await self._compute.end()
        self._give_slot_back()

    async def _saved(self) -> list[NodeEnd]:
        """Return the ends of the nodes that had completed when their job was given up, as far as they are at hand."""
        if self._compute.left is None:
            return []

        there = in_results(self.job, self.open_nodes, self._compute.left)
        ends = await take_over(self.job, there, self._compute.left, self.journal.store.values)
        return [end for end in ends if end.status == Status.COMPLETED]

    async def cancel_members(self, node_ids: Collection[int]) -> None:
        """End some nodes of a pack while the others go on."""
        job, executor = self.job, await self._executor.bound()

        if not executor.cancels_members:
            self.give_up()
            return

        arguments = {"job": job, "location": job.location, "job_handle": job.job_handle}
        await stop("before-cancel")
        results = await executor.call("cancel_members", **arguments, node_ids=sorted(node_ids))

        with CancelScope(shield=True):
            await self.end_cancelled_nodes(node_ids, results if isinstance(results, RESULTS) else None)

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

        await self.journal.close_job(self.job.dispatch_id, self.job.ticket, error)

    def _failed(self, failure: TaskRuntimeError) -> list[NodeEnd]:
        retry = not isinstance(failure.__cause__, JobEndedError) or failure.__cause__.retry
        return [replace(end, retry=retry) for end in self._all(Status.FAILED, str(failure), failure.step)]

    def _all(self, status: Status, error: str | None, step: str | None = None) -> list[NodeEnd]:
        # What needs another node of this job follows from that one's end.
        needs = {task.node_id: task.needs for task in self.job.tasks}
        first = [node_id for node_id in sorted(self.open_nodes) if self.open_nodes.isdisjoint(needs[node_id])]
        ends = [NodeEnd(node_id, status, error, step) for node_id in first]

        if self._compute.left is not None:
            add_output(self.job, self._compute.left, ends)

        return ends
