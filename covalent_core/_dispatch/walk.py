"""The walk of one dispatch through its graph: which nodes can start, and what follows when one has ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from anyio import sleep, to_thread
from anyio.abc import TaskGroup

from covalent_core._dispatch.contents import open_payload, task_call
from covalent_core._dispatch.graph import WalkGraph, WalkNode
from covalent_core._dispatch.packs import into_jobs
from covalent_core._dispatch.shared import SharedExecutor
from covalent_core._dispatch.steps import JobRun
from covalent_core._dispatch.sublattices import own_end, stopped_end
from covalent_core._model.cancellation import CancelRequest
from covalent_core._model.graph import ExecutorSpec
from covalent_core._model.job import DEFAULT_GRACE, Job, TaskCall
from covalent_core._model.status import Status
from covalent_core._stops import stop
from covalent_core._store.database import is_broken, is_transient, now
from covalent_core._store.journal import Journal
from covalent_core._store.orders import request_cancel
from covalent_core._store.reading import StoredDispatch
from covalent_core._store.transitions import NodeEnd, Requeue

log = logging.getLogger(__name__)


class Walk:
    """One dispatch that has not ended.

    Attributes:
        deadline: When it is to be cancelled because it has taken too long, if it has a timeout.
        parent: The dispatch and the node that this is the sublattice of, if it is one.
    """

    def __init__(
        self,
        stored: StoredDispatch,
        journal: Journal,
        tasks: TaskGroup,
        executor: Callable[[ExecutorSpec], SharedExecutor],
        on_end: Callable[[Walk], None],
        on_child: Callable[[], None],
    ) -> None:
        self.dispatch_id = str(stored.dispatch.dispatch_id)
        self._lattice = str(stored.dispatch.name)
        self.parent = (stored.dispatch.parent_dispatch_id, stored.dispatch.parent_node_id)
        self.timeout = stored.dispatch.timeout
        self.deadline = None if self.timeout is None else (stored.dispatch.started or now()) + self.timeout
        self._journal = journal
        self._tasks = tasks
        self._executor = executor
        self._on_end = on_end
        self._on_child = on_child
        self._pack = json.loads(stored.dispatch.pack)
        self._stored_jobs = stored.jobs
        # The job that each node is in: the last that it was given to. One before that may still have to be released.
        self._job_of = {node_id: row.ticket for row, members in stored.jobs for node_id in members}
        self._functions = stored.functions
        self._runs: dict[str, JobRun] = {}
        self._children: dict[int, str] = dict(stored.children)
        self._graph = WalkGraph(stored)
        self._haste = stored.haste
        self._failure: str | None = None

    async def start(self) -> None:
        """Take up the jobs that a dispatcher before this one has left, then start what can start."""
        with self.walled("taking it up"):
            await self._journal.start_dispatch(self.dispatch_id)

        while self._stored_jobs:
            row, members = self._stored_jobs.pop()

            with self.walled(f"taking up job {row.ticket}, whose handle is {row.handle}"):
                self._resume(row, members)

        with self.walled("taking it up"):
            self._look_at_children()
            self._start(self._graph.nodes.values())
            await self._end_if_done()

    def look_again(self) -> None:
        """A cancel order has been given: take over what it made of the nodes, and stop the jobs that it names."""
        with self.walled("carrying out a cancel"):
            self._take_over_orders()

    def _take_over_orders(self) -> None:
        self._graph.take_over_orders(self._journal.get_nodes(self.dispatch_id))

        for run in self._runs.values():
            self._stop_if_cancelled(run)

        self._hasten()
        self._look_at_children()

        # Where nothing is left to be done, the order itself has ended the dispatch.
        if self._failure is None and self._is_done():
            self._on_end(self)

    # --- what goes wrong -----------------------------------------------------------------------------------------

    @contextmanager
    def walled(self, doing: str) -> Iterator[None]:
        """What goes wrong within ends this dispatch, FAILED, and nothing else; only the store's own troubles pass."""
        try:
            yield
        except Exception as error:
            if is_transient(error) or is_broken(error):
                raise

            self._fail(f"the dispatcher cannot go on: {doing}: {type(error).__name__}: {error}", error)

    def _fail(self, failure: str, error: Exception) -> None:
        log.error("dispatch %s: %s", self.dispatch_id, failure, exc_info=error)

        if self._failure is not None:
            return

        self._failure = failure

        for run in self._runs.values():
            self._stop_if_cancelled(run)

        self._tasks.start_soon(self._end_failed, failure, name=f"dispatch {self.dispatch_id[:8]} failure")

    async def _end_failed(self, failure: str) -> None:
        """End what this dispatch has at its backends and in sublattices, then itself."""
        for child in list(self._children.values()):
            with self.walled(f"cancelling sublattice {child}"):
                request = CancelRequest(failure, "dispatcher")
                await to_thread.run_sync(request_cancel, self._journal.store, child, None, request)

        with self.walled("ending it"):
            self._journal.look_for_orders()
            await self._end_if_done()

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _start(self, nodes: Iterable[WalkNode]) -> None:
        if self._failure is not None:
            return

        # What needs a node of its own pack, and is tried again, comes twice.
        found = {node.node_id: node for node in nodes if node.status == Status.NEW_OBJECT and not node.waiting}
        time = now()
        ready = [node for node in found.values() if (node.not_before or 0) <= time]

        for node in [node for node in found.values() if (node.not_before or 0) > time]:
            name = f"dispatch {self.dispatch_id[:8]} pause {node.node_id}"
            self._tasks.start_soon(self._start_later, node, name=name)

        for members in into_jobs(ready, self._graph.nodes, self._packing):
            for node in members:
                node.status = Status.DISPATCHING

            first = members[0]
            ticket = f"ct-{self.dispatch_id.replace('-', '')}-{first.node_id}-{first.jobs}"
            job = Job(
                self.dispatch_id, ticket, first.attempt, tuple(map(self._task_call, members)), lattice=self._lattice
            )
            self._submit(members, job)

    async def _start_later(self, node: WalkNode) -> None:
        await stop("before-pause")
        # The moment may have passed since it was looked at, and a negative pause is an error.
        await sleep(max(0.0, (node.not_before or 0) - now()))
        node.not_before = None

        with self.walled(f"starting node {node.node_id} again"):
            self._start([node])

    def _packing(self, spec: ExecutorSpec) -> tuple[Any, Any]:
        options = self._executor(spec).options
        return options.get("pack") or self._pack, options.get("max_workers")

    def _resume(self, row: Any, members: list[int]) -> None:
        nodes = [self._graph.nodes[node_id] for node_id in members]
        job = Job(self.dispatch_id, row.ticket, row.attempt, tuple(map(self._task_call, nodes)), lattice=self._lattice)
        job.location, job.job_handle = row.location, row.handle
        needs_payload = row.payload is not None and row.location is None
        payload = open_payload(self._journal.store.home.folder, row.payload) if needs_payload else None
        # One that is NEW_OBJECT again is to be given to another job; one with a dispatch of its own needs this no more.
        closed = {node.node_id for node in nodes if node.status.terminal or node.status == Status.NEW_OBJECT}
        closed |= {node_id for node_id in members if self._job_of[node_id] != row.ticket}
        left = {*members} - closed - {*self._children}

        if left and row.handle is None:
            # Cancelled when they had not started, and still in what the job would run.
            left |= {
                n for n in members if self._graph.nodes[n].status == Status.CANCELLED and self._job_of[n] == row.ticket
            }

        known = {"open_nodes": left, "resumed": True, "payload": payload}
        self._submit(nodes, job, **known, cancel_since=row.cancel_since, cancel_attempts=row.cancel_attempts)

    def _submit(self, nodes: list[WalkNode], job: Job, **known: Any) -> None:
        # Operations run with the node that they take apart, wherever that runs.
        assert nodes[0].executor is not None
        shared = self._executor(nodes[0].executor)
        default = shared.options.get("grace", DEFAULT_GRACE)
        job.grace = max(node.options.get("grace", default) for node in nodes)
        run = JobRun(job, owner=self, executor=shared, journal=self._journal, **known)
        self._runs[job.ticket] = run
        self._stop_if_cancelled(run)
        run.hasten(self._haste)
        shared.submit(run.name, partial(self._carry_out, run))

    async def _carry_out(self, run: JobRun) -> None:
        # Where it cannot be carried out, the dispatch fails, and with it the job is cancelled: then it is ended.
        for _ in range(2):
            with self.walled(f"carrying out job {run.job.ticket}, whose handle is {run.job.job_handle}"):
                await run.carry_out()
                return

        await self.job_released(run)

    def _stop_if_cancelled(self, run: JobRun) -> None:
        if self._failure is not None:
            run.request_cancel(dict.fromkeys(run.ends.open, self._failure))
            return

        run.request_cancel(self._graph.reasons(run.ends.open))

    def _hasten(self) -> None:
        """Let jobs that are being ended end as soon as somebody says, or without proof where somebody says so."""
        self._haste = self._journal.get_haste(self.dispatch_id)

        for run in self._runs.values():
            run.hasten(self._haste)

    def _task_call(self, node: WalkNode) -> TaskCall:
        return task_call(node, self._graph.nodes, self._functions, self._journal.store.values)

    # --- what a job tells its owner ------------------------------------------------------------------------------

    def settle(self, ends: list[NodeEnd]) -> tuple[list[NodeEnd], list[Requeue]]:
        """Say what these ends come to: which are the last, with what follows from them, and which nodes try again."""
        return self._graph.settle(ends)

    def give_back(self, node_ids: Iterable[int]) -> list[Requeue]:
        """Let nodes of a job that has been given up for another of its nodes start again."""
        return self._graph.give_back(node_ids)

    def nodes_ended(self, ends: Iterable[NodeEnd], again: Iterable[Requeue] = ()) -> None:
        """Ends of nodes are on disk: start what was waiting for them, and what is to start again."""
        ready = self._graph.apply(ends, again)

        with self.walled("starting what can start"):
            self._start(ready)

    async def job_released(self, run: JobRun) -> None:
        """Forget a job; end the dispatch if it was the last."""
        self._runs.pop(run.job.ticket, None)

        with self.walled("ending it"):
            await self._end_if_done()

    # --- sublattices ---------------------------------------------------------------------------------------------

    def sublattice_stored(self, node_id: int, dispatch_id: str) -> None:
        """The graph of a sublattice is a dispatch now; its end will be that of the node."""
        self._children[node_id] = dispatch_id

        if self._graph.nodes[node_id].status != Status.CANCELLING:
            self._graph.nodes[node_id].status = Status.RUNNING

        with self.walled("looking at its sublattices"):
            self._look_at_children()

        self._on_child()

    def _look_at_children(self) -> None:
        # While jobs are still to be taken up it is too early; `start` comes here after them.
        if self._stored_jobs:
            return

        for node_id, dispatch_id in list(self._children.items()):
            if Status(self._journal.get_dispatch(dispatch_id).status).terminal:
                self.sublattice_ended(node_id)

    def sublattice_ended(self, node_id: int) -> None:
        """The dispatch of a sublattice has ended: so has its node."""
        child = self._children.pop(node_id, None)

        if child is not None:
            name = f"dispatch {self.dispatch_id[:8]} sublattice {node_id}"
            self._tasks.start_soon(self._end_sublattice, node_id, child, name=name)

    async def _end_sublattice(self, node_id: int, child: str) -> None:
        with self.walled(f"ending node {node_id} as its sublattice {child} has ended"):
            await self._end_as(node_id, child)

    async def _end_as(self, node_id: int, child: str) -> None:
        row = self._journal.get_dispatch(child)
        end = own_end(self._journal, self.dispatch_id, node_id, row)
        await stop("before-sublattice-end")
        ends = [end, *self._graph.consequences([end])]
        await self._journal.end_nodes(self.dispatch_id, ends)

        if self._graph.nodes[node_id].status == Status.CANCELLING:
            ends = [stopped_end(self._journal, node_id, row, self._graph.errors[node_id])]
            await self._journal.end_stopped_nodes(self.dispatch_id, ends)

        self.nodes_ended(ends)
        await self._end_if_done()

    # --- the end -------------------------------------------------------------------------------------------------

    async def _end_if_done(self) -> None:
        if not self._is_done():
            return

        if self._failure is not None:
            await self._journal.fail_dispatch(self.dispatch_id, self._failure)
        else:
            cancelled = bool(self._journal.get_dispatch(self.dispatch_id).cancel_requested)
            await self._journal.end_dispatch(self.dispatch_id, self._graph.final_status(cancelled=cancelled))

        self._on_end(self)

    def _is_done(self) -> bool:
        if self._runs or self._stored_jobs:
            return False

        if self._failure is not None:
            return not self._children

        return self._graph.has_ended
