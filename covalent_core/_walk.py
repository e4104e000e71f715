"""The walk of one dispatch through its graph: which nodes can start, and what follows when one has ended."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from covalent_core._cancellation import downstream
from covalent_core._graph import ExecutorSpec
from covalent_core._job import DEFAULT_GRACE, Job, TaskCall, Value
from covalent_core._journal import Journal, StoredDispatch
from covalent_core._shared import SharedExecutor
from covalent_core._status import Status, final_status
from covalent_core._steps import JobRun
from covalent_core._store import upstream
from covalent_core._transitions import NodeEnd


@dataclass
class WalkNode:
    """A node in the memory of the dispatcher."""

    node_id: int
    name: str
    status: Status
    function: int | None
    call: Value | None
    executor: ExecutorSpec | None
    output: Value | None
    sources: set[int] = field(default_factory=set)
    targets: list[int] = field(default_factory=list)
    waiting: int = 0


class Walk:
    """One dispatch that has not ended."""

    def __init__(
        self,
        stored: StoredDispatch,
        journal: Journal,
        executor: Callable[[ExecutorSpec], SharedExecutor],
        on_end: Callable[[Walk], None],
    ) -> None:
        self.dispatch_id = stored.dispatch_id
        self._journal = journal
        self._executor = executor
        self._on_end = on_end
        self._stored_jobs = stored.jobs
        self._functions = stored.functions
        self._edges = stored.edges
        self._runs: dict[str, JobRun] = {}
        self._nodes = {
            row.node_id: WalkNode(
                row.node_id,
                row.name,
                Status(row.status),
                row.function,
                row.call,
                stored.executors.get(row.executor_id),
                row.output,
            )
            for row in stored.nodes
        }
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

        for node in list(self._nodes.values()):
            self._start_if_ready(node)

        await self._end_if_done()

    def look_again(self) -> None:
        """A cancel order has been given: take over what it made of the nodes, and stop the jobs that it names."""
        for row in self._journal.get_nodes(self.dispatch_id):
            node = self._nodes[row.node_id]
            node.status, self._errors[row.node_id] = Status(row.status), row.error

        for run in self._runs.values():
            self._stop_if_cancelled(run)

        # Where nothing is left to be done, the order itself has ended the dispatch.
        if self._is_done():
            self._on_end(self)

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _start_if_ready(self, node: WalkNode) -> None:
        if node.status == Status.NEW_OBJECT and not node.waiting:
            node.status = Status.DISPATCHING
            job = Job(self.dispatch_id, self._ticket(node, 0), 0, (self._task_call(node),))
            self._submit(node, job)

    def _resume(self, row: Any, members: list[int]) -> None:
        nodes = [self._nodes[node_id] for node_id in members]
        job = Job(self.dispatch_id, row.ticket, row.attempt, tuple(map(self._task_call, nodes)))
        job.location, job.job_handle = row.location, row.handle
        payload = None if row.payload is None else self._open(row.payload)
        ended = all(node.status.terminal for node in nodes)
        known = {"ended": ended, "cancel_since": row.cancel_since, "cancel_attempts": row.cancel_attempts}
        self._submit(nodes[0], job, resumed=True, payload=payload, **known)

    def _submit(self, node: WalkNode, job: Job, **known: Any) -> None:
        assert node.executor is not None
        shared = self._executor(node.executor)
        job.grace = shared.options.get("grace", DEFAULT_GRACE)
        run = JobRun(job, owner=self, executor=shared, journal=self._journal, **known)
        self._runs[job.ticket] = run
        self._stop_if_cancelled(run)
        shared.submit(run)

    def _stop_if_cancelled(self, run: JobRun) -> None:
        for node_id in run.job.node_ids:
            if self._nodes[node_id].status in (Status.CANCELLING, Status.CANCELLED):
                run.request_cancel(self._errors[node_id] or "")

    def _ticket(self, node: WalkNode, attempt: int) -> str:
        return f"ct-{self.dispatch_id.replace('-', '')}-{node.node_id}-{attempt}"

    def _task_call(self, node: WalkNode) -> TaskCall:
        assert node.function is not None and node.call is not None
        resolve = self._journal.store.values.resolve
        inputs = {source: self._nodes[source].output for source in node.sources}
        return TaskCall(
            node.node_id,
            node.name,
            resolve(self._functions[node.function]),
            resolve(node.call),
            {source: resolve(value) for source, value in inputs.items() if value is not None},
        )

    def _open(self, payload: Value) -> bytes | memoryview:
        if isinstance(payload, bytes):
            return payload

        with open(self._journal.store.home.folder / Path(payload), "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    # --- what a job tells its owner ------------------------------------------------------------------------------

    def consequences(self, ends: list[NodeEnd]) -> list[NodeEnd]:
        """Return the ends of the nodes that cannot start any more after these."""
        causes = {end.node_id: end for end in ends if end.status != Status.COMPLETED}
        found: list[NodeEnd] = []

        if not causes:
            return found

        for node_id, cause in downstream(self._edges, causes).items():
            if self._nodes[node_id].status == Status.NEW_OBJECT:
                verb = "failed" if causes[cause].status == Status.FAILED else "cancelled"
                found.append(NodeEnd(node_id, Status.CANCELLED, upstream(cause, self._nodes[cause].name, verb)))

        return found

    def job_ended(self, run: JobRun, ends: list[NodeEnd]) -> None:
        """Take over the ends of a job's nodes and start what was waiting for them."""
        for end in ends:
            node = self._nodes[end.node_id]
            node.status, node.output = end.status, end.output

            if end.status == Status.COMPLETED:
                for target in node.targets:
                    self._nodes[target].waiting -= 1
                    self._start_if_ready(self._nodes[target])

    async def job_released(self, run: JobRun) -> None:
        """Forget a job; end the dispatch if it was the last."""
        del self._runs[run.job.ticket]
        await self._end_if_done()

    async def _end_if_done(self) -> None:
        if self._is_done():
            statuses = [node.status for node in self._nodes.values()]
            cancelled = self._journal.is_cancelled(self.dispatch_id)
            await self._journal.end_dispatch(self.dispatch_id, final_status(statuses, cancelled=cancelled))
            self._on_end(self)

    def _is_done(self) -> bool:
        jobs = self._runs or self._stored_jobs
        return not jobs and all(node.status.terminal for node in self._nodes.values())
