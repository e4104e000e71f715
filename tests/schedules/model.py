"""What may happen to a dispatch, told by its graph and its history alone: points 1 to 10 and 13 of the contract.

It knows nothing of the code under test. A world tells it what a client, a backend and a reader of the store see, at the
moment at which they see it; `Violation` is raised at the first thing that the contract does not allow. What is said
about the runs of nodes, and about those that come back to run again, stands in `runs`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from runs import Runs, Violation, must

STEPS = ("pickle", "upload", "provision", "run", "fetch")
#: What of a job must be in the store before a step may follow it.
NEEDS = {"upload": "payload", "provision": "location", "run": "handle", "fetch": "handle", "cancel_members": "handle"}
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED"}
STOPPED = TERMINAL | {"CANCELLING"}
ABORTED = {"CANCELLING", "CANCELLED"}
NEXT = {
    "NEW_OBJECT": {"DISPATCHING", "CANCELLED"},
    "DISPATCHING": {"RUNNING", "NEW_OBJECT"} | STOPPED - {"COMPLETED"},
    "RUNNING": {"NEW_OBJECT"} | STOPPED,
    "CANCELLING": {"CANCELLED"},
}

__all__ = ["Model", "Node", "Plan", "Violation", "must"]


@dataclass(frozen=True)
class Plan:
    """A node as it is drawn, and what may happen to it: `breaks` and `aborts` take all of its job with them."""

    sources: frozenset[int] = frozenset()
    role: str = "task"
    retries: int = 0
    delay: float = 0.0
    fails: bool = False
    breaks: bool = False
    aborts: bool = False


class Node(NamedTuple):
    """A node as it is seen."""

    status: str = "NEW_OBJECT"
    error: str = ""
    attempt: int = 0


class Model:
    """One dispatch; `below` are those of its sublattices, by their nodes."""

    def __init__(self, plans: dict[int, Plan], *, ends_members: bool) -> None:
        self.plans = plans
        self.nodes = dict.fromkeys(plans, Node())
        self.trail: dict[int, list[str]] = {node: [] for node in plans}
        self.end: tuple[str, object] | None = None
        self.ordered: set[int] = set()
        #: Nodes that somebody does not want to wait for, and those of them that have been given up.
        self.forced: set[int] = set()
        self.given_up: set[int] = set()
        self.runs = Runs(plans, self.given_up, ends_members=ends_members)
        self._not_released: set[str] = set()
        self.whole, self.restarts = False, 0
        self.calls: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.above: dict[int, set[int]] = {}
        self.below: dict[int, Model] = {}

        for node, plan in sorted(plans.items()):
            self.above[node] = set(plan.sources).union(*(self.above[source] for source in plan.sources))

    # --- orders and calls ----------------------------------------------------------------------------------------

    def cancelled(self, named: list[int] | None, truthy: bool, stopped: set[int], *, force: bool) -> None:
        """`ct.cancel` has returned: it stops what had not ended and was not being ended, and says so (1, 5, 10)."""
        expected = self._order(set(self.plans if named is None else named), whole=named is None, force=force)
        must(
            stopped == expected and truthy == bool(expected), "cancel says it stopped {}, it was {}", stopped, expected
        )

    def _order(self, targets: set[int], *, whole: bool, force: bool) -> set[int]:
        """An order takes all of the sublattices at its targets (7)."""
        expected = {node for node in targets if self.nodes[node].status not in STOPPED}
        self.ordered |= expected
        self.forced |= targets if force else set()
        self.whole |= whole and bool(expected)

        for node, child in self.below.items():
            if node in targets and self.nodes[node].status not in TERMINAL and child.end is None:
                child._order(set(child.plans), whole=True, force=force)

        return expected

    def called(self, hook: str, ticket: str, nodes: list[int], stored: dict[str, object]) -> None:
        """A hook is called; `stored` is what of the job is on disk at this moment (2, 3, 9)."""
        must(stored and not stored["released"], "{} of {}, which is not stored, or as released", hook, ticket)
        must(hook not in NEEDS or stored[NEEDS[hook]], "{} of {} without {}", hook, ticket, NEEDS.get(hook))
        # The nodes of a pack may end before it does; a step is for those that are not cancelled and still its own.
        over = STOPPED if len(nodes) == 1 else ABORTED
        live = [node for node in nodes if self.nodes[node].status not in over and self.runs.is_in(node, ticket)]
        must(hook not in STEPS or live, "{} of {}: {}", hook, ticket, [self.nodes[node] for node in nodes])
        releases = [restarts for earlier, restarts in self.calls[ticket] if earlier == "release"]
        must(hook == "release" or not releases, "{} of {} after its release", hook, ticket)
        # Only if it has failed, or the dispatcher died before it could be stored, is a release called again.
        must(self.restarts not in releases, "{} is released again", ticket)
        self.calls[ticket].append((hook, self.restarts))

    def release_failed(self, ticket: str) -> None:
        """A release has been called, and has raised or been interrupted."""
        self.calls[ticket].remove(("release", self.restarts))
        self._not_released.add(ticket)

    def ends_members(self, ticket: str, nodes: list[int]) -> None:
        """`cancel_members` is called for nodes that are to be cancelled, and no others (8)."""
        found = [self.nodes[node].status for node in nodes]
        must(set(found) <= ABORTED, "cancel_members of {} for nodes {}, which are {}", ticket, nodes, found)

    # --- what is seen --------------------------------------------------------------------------------------------

    def adopted(self, node: int, child: Model) -> None:
        """A sublattice has been stored: one for each node, and none for a node that is cancelled (7)."""
        must(node not in self.below, "node {} has a second sublattice", node)
        must(self.nodes[node].status not in STOPPED, "node {}, {}, gets a sublattice", node, self.nodes[node])
        self.below[node] = child

    def saw(
        self,
        dispatch: tuple[str, object],
        nodes: dict[int, Node],
        jobs: dict[str, list[int]],
        runs: dict[int, list[tuple[str, str]]],
        now: float,
    ) -> None:
        """Look at all nodes, which jobs they are in, and how each run stands at the backend (3, 4, 5, 6, 8)."""
        self._see_given_up(nodes)
        self.runs.saw(self.nodes, nodes, jobs, runs, now)
        roots = {node for node, new in nodes.items() if self._own(node, new.status)}

        for node, new in nodes.items():
            self._saw_change(node, self.nodes[node], new)
            self._saw_cause(node, new, nodes, roots & self.above[node])

            if self.plans[node].role == "sublattice":
                self._saw_sublattice(node, new.status)

        self.nodes = nodes
        must(self.end in (None, dispatch), "dispatch {} becomes {}", self.end, dispatch)
        must(dispatch[0] not in TERMINAL or dispatch[0] == self._outcome(), "dispatch is {}: {}", dispatch[0], nodes)
        self.end = dispatch if dispatch[0] in TERMINAL else None

    def _see_given_up(self, nodes: dict[int, Node]) -> None:
        """What cannot be confirmed to have ended may be given up, on somebody's word; then it has failed (13)."""
        for node, new in nodes.items():
            if self.nodes[node].status == "CANCELLING" and new.status == "FAILED":
                child = self.below.get(node)
                forced = not self.forced.isdisjoint(self.runs.mates(node))
                must(forced or (child and child.given_up), "node {} is given up: {}", node, new)
                self.given_up.add(node)

    def _saw_change(self, node: int, old: Node, new: Node) -> None:
        status, given_up = new.status, node in self.given_up
        known = status == old.status or status in NEXT.get(old.status, ())
        must(known or given_up, "node {} goes from {} to {}", node, old, new)
        must(old.status not in TERMINAL or new == old, "node {} changes from {} to {}", node, old, new)
        must(node not in self.ordered or status in ABORTED or given_up, "node {}, to be cancelled, is {}", node, new)
        failed = self.runs.may_fail(node) or self._child_is(node, "FAILED") or given_up
        must(status != "FAILED" or failed, "node {} is {}", node, new)
        tries = new.attempt < self.plans[node].retries and node not in self.below and not given_up
        must(status != "FAILED" or not tries, "node {} is {} and may be tried again", node, new)
        self.trail[node] += [status] * (status != old.status)

    def _saw_cause(self, node: int, new: Node, nodes: dict[int, Node], roots: set[int]) -> None:
        """`roots`: what it needs and what has not completed for a reason of its own."""
        own = self._own(node, new.status)
        ready = all(nodes[s].status == "COMPLETED" or self.runs.share(s, node) for s in self.plans[node].sources)
        cause = re.search(r"node (\d+)", new.error)
        must(
            ready or new.status in ("NEW_OBJECT", "CANCELLED"),
            "node {} is {}, what it needs is not complete",
            node,
            new,
        )
        must(new.status not in ABORTED or own or roots, "node {} is {} without a cause", node, new)
        must(not roots or new.status in ABORTED or node in self.given_up, "node {} is {} below {}", node, new, roots)
        must(
            new.status != "CANCELLED" or own or (cause and int(cause[1]) in roots), "node {}, {}: {}", node, roots, new
        )

    def _saw_sublattice(self, node: int, status: str) -> None:
        """The end of a sublattice is that of its node (7)."""
        child = self.below.get(node)
        end = child and child.end and child.end[0]
        must(child is None or status in STOPPED | {"RUNNING"}, "node {} has a sublattice and is {}", node, status)
        must(child is None or end or status not in TERMINAL, "node {} is {}, its sublattice goes on", node, status)
        must(status != "COMPLETED" or end == status, "node {} is {}, its sublattice is {}", node, status, end)
        must(status != "FAILED" or end in (None, status), "node {} is {}, its sublattice is {}", node, status, end)

    def _child_is(self, node: int, status: str) -> bool:
        child = self.below.get(node)
        return child is not None and child.end is not None and child.end[0] == status

    def _own(self, node: int, status: str) -> bool:
        """Whether a node has failed, or is cancelled for a reason of its own."""
        aborted = status == "CANCELLED" and bool(self.trail[node]) and self.runs.may_abort(node)
        ended = status == "CANCELLED" and self._child_is(node, status)
        return status == "FAILED" or node in self.ordered or aborted or ended

    def _outcome(self) -> str | None:
        """Return how the dispatch ends, None where not all of its nodes have."""
        found = {new.status for new in self.nodes.values()}
        ends = (
            ["CANCELLED"] * (self.whole and not self.given_up)
            + [end for end in ("FAILED", "CANCELLED") if end in found]
            + ["COMPLETED"]
        )
        return ends[0] if found <= TERMINAL else None

    def ended(self) -> None:
        """Nothing is left to be done: the dispatch has ended, and every job that was uploaded is released (3)."""
        must(self.end, "the dispatch has not ended: {}", self.nodes)

        for ticket, calls in self.calls.items():
            hooks = {hook for hook, _ in calls}
            # Who does not want to wait does not wait for a release that fails either.
            released = "release" in hooks or (self.forced and ticket in self._not_released)
            must("upload" not in hooks or released, "{} is never released: {}", ticket, calls)

        for child in self.below.values():
            child.ended()
