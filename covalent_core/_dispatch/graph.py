"""The graph of a dispatch in the memory of the dispatcher: where its nodes stand, and what follows from their ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from covalent_core._model.cancellation import downstream, upstream
from covalent_core._model.graph import ExecutorSpec, Role
from covalent_core._model.job import Value
from covalent_core._model.status import Status, final_status
from covalent_core._store.database import now
from covalent_core._store.reading import StoredDispatch
from covalent_core._store.transitions import GIVEN_UP, NodeEnd, Requeue


@dataclass
class WalkNode:
    """A node in the memory of the dispatcher.

    Attributes:
        attempt: The number of the attempt that is under way or comes next.
        jobs: How many jobs it has been part of before that.
        sources: The nodes that it needs; `waiting` is how many of them have not completed.
    """

    node_id: int
    name: str
    role: Role
    status: Status
    function: int | None
    function_sources: list[int]
    call: Value | None
    call_sources: list[int]
    executor: ExecutorSpec | None
    options: dict[str, Any]
    output: Value | None
    attempt: int = 0
    jobs: int = 0
    not_before: float | None = None
    sources: set[int] = field(default_factory=set)
    targets: list[int] = field(default_factory=list)
    waiting: int = 0

    @property
    def needs_own_process(self) -> bool:
        """Whether what it imports must not meet what other tasks have imported."""
        return bool(self.options.get("fresh"))


class WalkGraph:
    """The nodes of one dispatch.

    Attributes:
        nodes: By their ids.
        errors: By node, what the store has as its error: the reason, where it is cancelled.
        given_up: Whether a node has been given up, whose tasks may be alive.
    """

    def __init__(self, stored: StoredDispatch) -> None:
        self.nodes = {row.node_id: _node(row, stored.executors.get(row.executor_id)) for row in stored.nodes}
        self.errors: dict[int, str | None] = {row.node_id: row.error for row in stored.nodes}
        self.given_up = any(row.step == GIVEN_UP for row in stored.nodes)

        for source, target in stored.edges:
            self.nodes[target].sources.add(source)
            self.nodes[source].targets.append(target)

        for node in self.nodes.values():
            node.waiting = sum(self.nodes[source].status != Status.COMPLETED for source in node.sources)

    @property
    def has_ended(self) -> bool:
        """Whether all nodes have."""
        return all(node.status.terminal for node in self.nodes.values())

    def final_status(self, *, cancelled: bool) -> Status:
        """Return how the dispatch ends whose nodes have all ended.

        Args:
            cancelled: Whether a cancel of the whole dispatch stopped anything.
        """
        statuses = [node.status for node in self.nodes.values()]
        return final_status(statuses, cancelled=cancelled and not self.given_up)

    def reasons(self, node_ids: Iterable[int]) -> dict[int, str]:
        """Return those of some nodes that are cancelled, and why."""
        stopped = (Status.CANCELLING, Status.CANCELLED)
        return {n: self.errors[n] or "" for n in node_ids if self.nodes[n].status in stopped}

    def take_over_orders(self, rows: Iterable[Any]) -> None:
        """Take over what cancel orders have made of the nodes in the store."""
        for row in rows:
            self.errors[row.node_id] = row.error

            # What an order makes of a node. All else is told to the walk by whoever writes it, and perhaps not yet.
            if row.status in (Status.CANCELLING, Status.CANCELLED):
                self.nodes[row.node_id].status = Status(row.status)

    def settle(self, ends: list[NodeEnd]) -> tuple[list[NodeEnd], list[Requeue]]:
        """Say what these ends come to: which are the last, with what follows from them, and which nodes try again."""
        again = [self._requeue(self.nodes[end.node_id], end) for end in ends if self._tries_again(end)]
        trying = {requeue.node_id for requeue in again}
        last = [end for end in ends if end.node_id not in trying]
        return last + self.consequences(last), again

    def give_back(self, node_ids: Iterable[int]) -> list[Requeue]:
        """Let nodes of a job that has been given up for another of its nodes start again."""
        return [self._requeue(self.nodes[node_id]) for node_id in node_ids]

    def _tries_again(self, end: NodeEnd) -> bool:
        node = self.nodes[end.node_id]
        return end.status == Status.FAILED and end.retry and node.attempt < node.options.get("retries", 0)

    def _requeue(self, node: WalkNode, failed: NodeEnd | None = None) -> Requeue:
        if failed is None:
            return Requeue(node.node_id, node.attempt, node.jobs + 1)

        pause = node.options.get("retry_delay", 0)
        return Requeue(node.node_id, node.attempt + 1, node.jobs + 1, now() + pause if pause else None, failed)

    def consequences(self, ends: list[NodeEnd]) -> list[NodeEnd]:
        """Return the ends of all that cannot start any more because of these ends."""
        causes = {end.node_id: end for end in ends if end.status != Status.COMPLETED and end.graph is None}
        found: list[NodeEnd] = []

        if not causes:
            return found

        for node_id, cause in downstream(self._open_targets, causes).items():
            # What is in the same job has not begun either: the runner skips it.
            if self.nodes[node_id].status in (Status.NEW_OBJECT, Status.DISPATCHING, Status.RUNNING):
                verb = "failed" if causes[cause].status == Status.FAILED else "cancelled"
                found.append(NodeEnd(node_id, Status.CANCELLED, upstream(cause, self.nodes[cause].name, verb)))

        return found

    def _open_targets(self, node_id: int) -> list[int]:
        # What has ended needs no cause, and what is downstream of it has got one with it.
        return [target for target in self.nodes[node_id].targets if not self.nodes[target].status.terminal]

    def apply(self, ends: Iterable[NodeEnd], again: Iterable[Requeue]) -> list[WalkNode]:
        """Take over ends that are on disk; return the nodes that were waiting for them, or are to start again."""
        ready = []

        for end in ends:
            node = self.nodes[end.node_id]

            # Where a cancel came first, this end is not in the store.
            given_up = end.step == GIVEN_UP
            stopped = given_up or end.status == Status.CANCELLED

            if node.status.terminal or (node.status == Status.CANCELLING and not stopped):
                continue

            node.status, node.output = end.status, end.output
            self.given_up = self.given_up or given_up

            if end.status == Status.COMPLETED:
                for target in map(self.nodes.__getitem__, node.targets):
                    target.waiting -= 1

                    if not target.waiting:
                        ready.append(target)

        for requeue in again:
            node = self.nodes[requeue.node_id]

            if node.status != Status.CANCELLING and not node.status.terminal:
                node.status, node.attempt, node.jobs = Status.NEW_OBJECT, requeue.attempt, requeue.jobs
                node.not_before = requeue.not_before
                ready.append(node)

        return ready


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
