"""The ends of the nodes of one job: what each has come to, stored once, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol

from anyio import to_thread

from covalent_core._dispatch.outcomes import add_output, in_results, take_over
from covalent_core._model.exchange import from_json
from covalent_core._model.job import Job, Results
from covalent_core._model.status import Status
from covalent_core._stops import stop
from covalent_core._store.database import is_transient
from covalent_core._store.journal import Journal
from covalent_core._store.transitions import GIVEN_UP, NodeEnd, Requeue
from covalent_core.errors import GraphError, JobEndedError, TaskRuntimeError


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


class Ends:
    """The ends of the nodes of one job.

    Attributes:
        open: The nodes whose end is still to come.
        cancelled: By node, why it is cancelled.
    """

    def __init__(self, job: Job, owner: Owner, journal: Journal, open_nodes: set[int]) -> None:
        self.open = open_nodes
        self.cancelled: dict[int, str] = {}
        self._job = job
        self._owner = owner
        self._journal = journal

    @property
    def stopped(self) -> set[int]:
        """The nodes that are cancelled and not yet confirmed to have ended."""
        return self.open & self.cancelled.keys()

    # --- what they are ---------------------------------------------------------------------------------------------

    def all(
        self, status: Status, error: str | None, step: str | None = None, left: Results | None = None
    ) -> list[NodeEnd]:
        """Return one end for all open nodes, with what they had written if it was left."""
        # What needs another node of this job follows from that one's end.
        needs = {task.node_id: task.needs for task in self._job.tasks}
        first = [node_id for node_id in sorted(self.open) if self.open.isdisjoint(needs[node_id])]
        ends = [NodeEnd(node_id, status, error, step) for node_id in first]

        if left is not None:
            add_output(self._job, left, ends)

        return ends

    def failed(self, failure: TaskRuntimeError, left: Results | None) -> list[NodeEnd]:
        """Return the ends of all open nodes of a job that has failed."""
        retry = not isinstance(failure.__cause__, JobEndedError) or failure.__cause__.retry
        return [replace(end, retry=retry) for end in self.all(Status.FAILED, str(failure), failure.step, left)]

    async def completed(self, left: Results | None) -> list[NodeEnd]:
        """Return the ends of the nodes that had completed when their job was given up, as far as they are at hand."""
        if left is None:
            return []

        there = in_results(self._job, self.open, left)
        ends = await take_over(self._job, there, left, self._journal.store.values)
        return [end for end in ends if end.status == Status.COMPLETED]

    # --- storing them ----------------------------------------------------------------------------------------------

    async def store(self, ends: list[NodeEnd], *, last: bool = False) -> None:
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
            again += self._owner.give_back(self.open - settled - self.cancelled.keys())

        await self._journal.end_nodes(self._job.dispatch_id, ends, again)
        settled = {end.node_id for end in ends} | {requeue.node_id for requeue in again}
        self.open -= settled - self.cancelled.keys()
        self._owner.nodes_ended(ends, again)

    async def store_cancelled(self, node_ids: Collection[int], results: Results | None) -> None:
        """Store that nothing of these nodes is alive any more, with what they had written until then."""
        ends = [NodeEnd(node_id, Status.CANCELLED, self.cancelled[node_id]) for node_id in sorted(node_ids)]

        if results is not None:
            add_output(self._job, results, ends)

        await self._store_stopped(ends)

    async def store_given_up(self, node_ids: Collection[int], words: str) -> None:
        """Store that somebody has given these nodes up, though they are not confirmed to have ended."""
        await self._store_stopped([NodeEnd(n, Status.FAILED, words, GIVEN_UP) for n in sorted(node_ids)])

    async def _store_stopped(self, ends: list[NodeEnd]) -> None:
        await self._journal.end_stopped_nodes(self._job.dispatch_id, ends)
        self.open -= {end.node_id for end in ends}
        self._owner.nodes_ended(ends)

    async def _add_sublattice(self, end: NodeEnd) -> list[NodeEnd]:
        """Store the graph that a node has built, unless the node is cancelled; return its end if it is no graph."""
        assert end.graph is not None
        store, dispatch_id = self._journal.store, self._job.dispatch_id

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
        self._journal.look_for_orders()

        if child is not None:
            self.open.discard(end.node_id)
            self.cancelled.pop(end.node_id, None)
            self._owner.sublattice_stored(end.node_id, child)

        return []
