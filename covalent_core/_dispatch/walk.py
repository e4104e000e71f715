"""The walk of one dispatch through its graph: which nodes can start, and what follows when one has ended."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from anyio import sleep
from anyio.abc import TaskGroup

from covalent_core._dispatch.packs import WalkNode, into_jobs
from covalent_core._dispatch.shared import SharedExecutor
from covalent_core._dispatch.steps import JobRun
from covalent_core._model.cancellation import downstream, last_line, upstream
from covalent_core._model.graph import ExecutorSpec, Role
from covalent_core._model.job import DEFAULT_GRACE, Job, TaskCall, Value
from covalent_core._model.status import Status, final_status
from covalent_core._store.database import now
from covalent_core._store.journal import Journal
from covalent_core._store.reading import StoredDispatch
from covalent_core._store.transitions import NodeEnd, Requeue


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
        self._edges = stored.edges
        self._runs: dict[str, JobRun] = {}
        self._children: dict[int, str] = dict(stored.children)
        self._nodes = {row.node_id: _node(row, stored.executors.get(row.executor_id)) for row in stored.nodes}
        self._errors = {row.node_id: row.error for row in stored.nodes}

        for source, target in stored.edges:
            self._nodes[target].sources.add(source)
            self._nodes[source].targets.append(target)

        for node in self._nodes.values():
            node.waiting = sum(self._nodes[source].status != Status.COMPLETED for source in node.sources)

    async def start(self) -> None:
        """Take up the jobs that a dispatcher before this one has left, then start what can start."""
        await self._journal.start_dispatch(self.dispatch_id)

        while self._stored_jobs:
            self._resume(*self._stored_jobs.pop())

        self._look_at_children()
        self._start(self._nodes.values())
        await self._end_if_done()

    def look_again(self) -> None:
        """A cancel order has been given: take over what it made of the nodes, and stop the jobs that it names."""
        for row in self._journal.get_nodes(self.dispatch_id):
            node, status = self._nodes[row.node_id], Status(row.status)
            self._errors[row.node_id] = row.error

            # What an order makes of a node. All else is told to this walk by whoever writes it, and perhaps not yet.
            if status in (Status.CANCELLING, Status.CANCELLED):
                node.status = status

        for run in self._runs.values():
            self._stop_if_cancelled(run)

        self._look_at_children()

        # Where nothing is left to be done, the order itself has ended the dispatch.
        if self._is_done():
            self._on_end(self)

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _start(self, nodes: Iterable[WalkNode]) -> None:
        # What needs a node of its own pack, and is tried again, comes twice.
        found = {node.node_id: node for node in nodes if node.status == Status.NEW_OBJECT and not node.waiting}
        ready = list(found.values())

        for node in [node for node in ready if (node.not_before or 0) > now()]:
            ready.remove(node)
            name = f"dispatch {self.dispatch_id[:8]} pause {node.node_id}"
            self._tasks.start_soon(self._start_later, node, name=name)

        for members in into_jobs(ready, self._nodes, self._packing):
            for node in members:
                node.status = Status.DISPATCHING

            first = members[0]
            ticket = f"ct-{self.dispatch_id.replace('-', '')}-{first.node_id}-{first.jobs}"
            job = Job(self.dispatch_id, ticket, first.attempt, tuple(map(self._task_call, members)))
            self._submit(members, job)

    async def _start_later(self, node: WalkNode) -> None:
        await sleep((node.not_before or 0) - now())
        node.not_before = None
        self._start([node])

    def _packing(self, spec: ExecutorSpec) -> tuple[Any, Any]:
        options = self._executor(spec).options
        return options.get("pack") or self._pack, options.get("max_workers")

    def _resume(self, row: Any, members: list[int]) -> None:
        nodes = [self._nodes[node_id] for node_id in members]
        job = Job(self.dispatch_id, row.ticket, row.attempt, tuple(map(self._task_call, nodes)))
        job.location, job.job_handle = row.location, row.handle
        payload = None if row.payload is None or row.location is not None else self._open(row.payload)
        # One that is NEW_OBJECT again is to be given to another job; one with a dispatch of its own needs this no more.
        closed = {node.node_id for node in nodes if node.status.terminal or node.status == Status.NEW_OBJECT}
        closed |= {node_id for node_id in members if self._job_of[node_id] != row.ticket}
        left = {*members} - closed - {*self._children}

        if left and row.handle is None:
            # Cancelled when they had not started, and still in what the job would run.
            left |= {n for n in members if self._nodes[n].status == Status.CANCELLED and self._job_of[n] == row.ticket}

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
        shared.submit(run)

    def _stop_if_cancelled(self, run: JobRun) -> None:
        stopped = (Status.CANCELLING, Status.CANCELLED)
        run.request_cancel({n: self._errors[n] or "" for n in run.open_nodes if self._nodes[n].status in stopped})

    def _task_call(self, node: WalkNode) -> TaskCall:
        assert node.function is not None and node.call is not None
        resolve = self._journal.store.values.resolve
        sources = {*node.function_sources, *node.call_sources}
        inputs = {source: self._nodes[source].output for source in sources}
        return TaskCall(
            node.node_id,
            node.name,
            resolve(self._functions[node.function]),
            resolve(node.call),
            node.function_sources,
            node.call_sources,
            {source: resolve(value) for source, value in inputs.items() if value is not None},
            sorted(node.sources),
            node.attempt,
            node.options.get("timeout"),
            node.options.get("fresh", False),
            node.role == Role.SUBLATTICE,
        )

    def _open(self, payload: Value) -> bytes | memoryview:
        if isinstance(payload, bytes):
            return payload

        with open(self._journal.store.home.folder / Path(payload), "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    # --- what a job tells its owner ------------------------------------------------------------------------------

    def settle(self, ends: list[NodeEnd]) -> tuple[list[NodeEnd], list[Requeue]]:
        """Say what these ends come to: which are the last, with what follows from them, and which nodes try again."""
        again = [self._requeue(self._nodes[end.node_id], end) for end in ends if self._tries_again(end)]
        trying = {requeue.node_id for requeue in again}
        last = [end for end in ends if end.node_id not in trying]
        return last + self._consequences(last), again

    def give_back(self, node_ids: Iterable[int]) -> list[Requeue]:
        """Let nodes of a job that has been given up for another of its nodes start again."""
        return [self._requeue(self._nodes[node_id]) for node_id in node_ids]

    def _tries_again(self, end: NodeEnd) -> bool:
        node = self._nodes[end.node_id]
        return end.status == Status.FAILED and end.retry and node.attempt < node.options.get("retries", 0)

    def _requeue(self, node: WalkNode, failed: NodeEnd | None = None) -> Requeue:
        if failed is None:
            return Requeue(node.node_id, node.attempt, node.jobs + 1)

        pause = node.options.get("retry_delay", 0)
        return Requeue(node.node_id, node.attempt + 1, node.jobs + 1, now() + pause if pause else None, failed)

    def _consequences(self, ends: list[NodeEnd]) -> list[NodeEnd]:
        causes = {end.node_id: end for end in ends if end.status != Status.COMPLETED and end.graph is None}
        found: list[NodeEnd] = []

        if not causes:
            return found

        for node_id, cause in downstream(self._edges, causes).items():
            # What is in the same job has not begun either: the runner skips it.
            if self._nodes[node_id].status in (Status.NEW_OBJECT, Status.DISPATCHING, Status.RUNNING):
                verb = "failed" if causes[cause].status == Status.FAILED else "cancelled"
                found.append(NodeEnd(node_id, Status.CANCELLED, upstream(cause, self._nodes[cause].name, verb)))

        return found

    def nodes_ended(self, ends: Iterable[NodeEnd], again: Iterable[Requeue] = ()) -> None:
        """Ends of nodes are on disk: start what was waiting for them, and what is to start again."""
        ready = []

        for end in ends:
            node = self._nodes[end.node_id]

            # Where a cancel came first, this end is not in the store.
            if node.status.terminal or (node.status == Status.CANCELLING and end.status != Status.CANCELLED):
                continue

            node.status, node.output = end.status, end.output

            if end.status == Status.COMPLETED:
                for target in map(self._nodes.__getitem__, node.targets):
                    target.waiting -= 1

                    if not target.waiting:
                        ready.append(target)

        for requeue in again:
            node = self._nodes[requeue.node_id]

            if node.status != Status.CANCELLING and not node.status.terminal:
                node.status, node.attempt, node.jobs = Status.NEW_OBJECT, requeue.attempt, requeue.jobs
                node.not_before = requeue.not_before
                ready.append(node)

        self._start(ready)

    async def job_released(self, run: JobRun) -> None:
        """Forget a job; end the dispatch if it was the last."""
        del self._runs[run.job.ticket]
        await self._end_if_done()

    # --- sublattices ---------------------------------------------------------------------------------------------

    def sublattice_stored(self, node_id: int, dispatch_id: str) -> None:
        """The graph of a sublattice is a dispatch now; its end will be that of the node."""
        self._children[node_id] = dispatch_id

        if self._nodes[node_id].status != Status.CANCELLING:
            self._nodes[node_id].status = Status.RUNNING

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
        row = self._journal.get_dispatch(child)
        end = NodeEnd(node_id, Status(row.status), started=row.started, ended=row.ended)

        if end.status == Status.COMPLETED:
            value = self._journal.store.get_output(row)
            assert value is not None
            end.output = self._journal.store.values.share(self.dispatch_id, f"output-{node_id}", value)
        else:
            end.error, end.step = row.error or self._why(row, end.status), "run"

        ends = [end, *self._consequences([end])]
        await self._journal.end_nodes(self.dispatch_id, ends)

        if self._nodes[node_id].status == Status.CANCELLING:
            ends = [NodeEnd(node_id, Status.CANCELLED, self._errors[node_id])]
            await self._journal.end_cancelled_nodes(self.dispatch_id, ends)

        self.nodes_ended(ends)
        await self._end_if_done()

    def _why(self, child: Any, status: Status) -> str:
        """Say why a sublattice did not complete: because of the first of its nodes that ended so."""
        nodes = self._journal.get_nodes(child.dispatch_id)
        first = next(
            (f": {row.name}({row.node_id}): {last_line(row.error)}" for row in nodes if row.status == status), ""
        )
        verb = "failed" if status == Status.FAILED else "was cancelled"
        return f"sublattice {child.name} (dispatch {child.dispatch_id}) {verb}{first}"

    # --- the end -------------------------------------------------------------------------------------------------

    async def _end_if_done(self) -> None:
        if self._is_done():
            statuses = [node.status for node in self._nodes.values()]
            cancelled = bool(self._journal.get_dispatch(self.dispatch_id).cancel_requested)
            await self._journal.end_dispatch(self.dispatch_id, final_status(statuses, cancelled=cancelled))
            self._on_end(self)

    def _is_done(self) -> bool:
        jobs = self._runs or self._stored_jobs
        return not jobs and all(node.status.terminal for node in self._nodes.values())


def _node(row: Any, executor: ExecutorSpec | None) -> WalkNode:
    return WalkNode(
        row.node_id,
        row.name,
        Role(row.role),
        Status(row.status),
        row.function,
        json.loads(row.function_sources),
        row.call,
        json.loads(row.call_sources),
        executor,
        json.loads(row.options),
        row.output,
        row.attempt,
        row.jobs,
        row.not_before,
    )
