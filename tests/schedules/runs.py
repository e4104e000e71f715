"""What the model says about jobs and runs: what runs when, where, how often, and what comes back to run again."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model import Node, Plan

#: In these a node may be alive.
MAY_LIVE = ("DISPATCHING", "RUNNING", "CANCELLING")
#: So long may it take until an end is on disk. The pause before a new attempt is counted from the end itself.
STORING = 0.01


class Violation(AssertionError):  # noqa: N818
    """The contract does not allow what has been seen."""


def must(condition: object, text: str, *values: object) -> None:
    """Raise where a condition does not hold; only then the values are put into the text."""
    if not condition:
        raise Violation(text.format(*values))


class Runs:
    """The jobs of one dispatch.

    Args:
        given_up: The nodes of which it is not known that they have ended.
        ends_members: Whether the executor can end single nodes of a pack.
    """

    def __init__(self, plans: Mapping[int, Plan], given_up: Set[int], *, ends_members: bool) -> None:
        self._plans, self._given_up, self._ends_members = plans, given_up, ends_members
        #: By ticket the nodes; by node the ticket of the last job it was given to, and how often it has come back.
        self._jobs: dict[str, list[int]] = {}
        self._job_of: dict[int, str] = {}
        self._came_back = dict.fromkeys(plans, 0)
        self._not_before = dict.fromkeys(plans, 0.0)
        #: Tickets of which a node has failed and is tried again.
        self._failing: set[str] = set()

    def is_in(self, node: int, ticket: str) -> bool:
        return self._job_of.get(node, ticket) == ticket

    def share(self, source: int, node: int) -> bool:
        """Whether a node has been given to the same job as one that it needs."""
        return source in self.mates(node)

    def may_fail(self, node: int) -> bool:
        return self._plans[node].fails or any(self._plans[mate].breaks for mate in self.mates(node))

    def may_abort(self, node: int) -> bool:
        return any(self._plans[mate].aborts for mate in self.mates(node))

    def mates(self, node: int) -> list[int]:
        return self._jobs[self._job_of[node]] if node in self._job_of else [node]

    def saw(
        self,
        old: dict[int, Node],
        nodes: dict[int, Node],
        jobs: dict[str, list[int]],
        runs: dict[int, list[tuple[str, str]]],
        now: float,
    ) -> None:
        for ticket in jobs.keys() - self._jobs.keys():
            self._saw_job(ticket, jobs[ticket], nodes, now)

        back = [node for node, new in nodes.items() if new.status == "NEW_OBJECT" != old[node].status]
        tried = [node for node in back if nodes[node].attempt > old[node].attempt]

        for node in tried:
            self._failing.add(self._job_of.get(node, ""))
            self._not_before[node] = now + self._plans[node].delay

        for node in back:
            self._came_back[node] += 1
            attempts = nodes[node].attempt - old[node].attempt
            must(attempts in (0, 1), "node {} comes back from {} as {}", node, old[node], nodes[node])
            must(nodes[node].attempt <= self._plans[node].retries, "node {} is tried too often: {}", node, nodes[node])
            must(not attempts or self.may_fail(node), "node {} is tried again: {}", node, nodes[node])
            must(attempts or self._is_given_up(node, nodes, runs), "node {} comes back from {}", node, old[node])

        for node, new in nodes.items():
            self._saw_runs(node, new, runs.get(node, []), runs, nodes)

    def _saw_job(self, ticket: str, members: list[int], nodes: dict[int, Node], now: float) -> None:
        self._jobs[ticket] = members

        for node in members:
            early = now < self._not_before[node] - STORING and nodes[node].status != "CANCELLED"
            must(not early, "node {} is tried again {:g} s too early", node, self._not_before[node] - now)
            sources = self._plans[node].sources
            joins = self._plans[node].role == "operation" and len(sources) == 1 and node not in self._job_of
            apart = {s for s in sources if s not in members and self._plans[s].role != "sublattice"}
            must(not joins or not apart, "operation {} runs without node {} in {}", node, apart, ticket)
            self._job_of[node] = ticket

    def _is_given_up(self, node: int, nodes: dict[int, Node], runs: dict[int, list[tuple[str, str]]]) -> bool:
        """Whether a node may come back that has not failed: for a node of its pack that has, or is cancelled (8)."""
        ticket = self._job_of.get(node, "")
        given_up = not self._given_up.isdisjoint(self.mates(node))
        cancelled = given_up or any(nodes[mate].status in ("CANCELLING", "CANCELLED") for mate in self.mates(node))
        began = ticket in (run for run, _ in runs.get(node, ()))
        return ticket in self._failing or (cancelled and not (began and self._ends_members))

    def _saw_runs(
        self,
        node: int,
        new: Node,
        ran: list[tuple[str, str]],
        runs: dict[int, list[tuple[str, str]]],
        nodes: dict[int, Node],
    ) -> None:
        """A node runs once for each time it was started, where it was started, and after what it needs."""
        states = [state for _, state in ran]
        alive = [ticket for ticket, state in ran if state == "alive"]
        must(len(ran) == len(dict(ran)) <= self._came_back[node] + 1, "node {} has run too often: {}", node, ran)
        must(len(alive) <= 1, "node {} runs twice at once: {}", node, ran)
        must(
            not alive or new.status in MAY_LIVE or node in self._given_up, "node {} is {} and alive: {}", node, new, ran
        )
        must(not alive or self.is_in(node, alive[0]), "node {} is alive in {}, which it has left", node, alive)
        must(
            new.status != "COMPLETED" or states[-1:] == ["COMPLETED"],
            "node {} is {}, at the backend {}",
            node,
            new,
            ran,
        )

        for source in self._plans[node].sources if ran else ():
            done = nodes[source].status == "COMPLETED" or any(s == "COMPLETED" for _, s in runs.get(source, ()))
            must(done, "node {} runs before node {} has completed", node, source)
