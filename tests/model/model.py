"""What may happen to a dispatch, told by its graph and its history alone: the contract of the design on one page.

It knows nothing of the code under test. A world tells it what a client, a backend and a reader of the store have seen,
each at the moment at which it was seen; `Violation` is raised at the first that the contract does not allow.
"""

from __future__ import annotations

import re
from collections import defaultdict

STEPS = ("pickle", "upload", "provision", "run", "fetch")
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED"}
STOPPED = TERMINAL | {"CANCELLING"}
NEXT = {
    "NEW_OBJECT": {"DISPATCHING", "CANCELLED"},
    "DISPATCHING": {"RUNNING", "FAILED", "CANCELLED", "CANCELLING"},
    "RUNNING": {"COMPLETED", "FAILED", "CANCELLED", "CANCELLING"},
    "CANCELLING": {"CANCELLED"},
}


class Violation(AssertionError):  # noqa: N818
    """The contract does not allow what has been seen."""


def must(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Model:
    """One dispatch. `may_fail` and `may_abort` are the nodes that a failing hook or task can end by itself."""

    def __init__(self, sources: dict[int, set[int]], may_fail: set[int], may_abort: set[int]) -> None:
        self.sources, self.may_fail, self.may_abort = sources, may_fail, may_abort
        self.above: dict[int, set[int]] = {}
        self.status = dict.fromkeys(sources, "NEW_OBJECT")
        self.trail: dict[int, list[str]] = {node: [] for node in sources}
        self.error: dict[int, str] = {}
        self.end: tuple[str, object] | None = None
        self.whole, self.restarts = False, 0
        self.ordered: set[int] = set()
        self.calls: dict[str, list[str]] = defaultdict(list)
        self.released: dict[str, tuple[int, int]] = {}

        for node in sorted(sources):
            self.above[node] = sources[node].union(*(self.above[source] for source in sources[node]))

    def cancelled(self, named: list[int] | None, truthy: bool, stopped: set[int]) -> None:
        """`ct.cancel` has returned: it stops what had not ended and was not being ended, and says so (1, 5)."""
        targets = set(self.sources if named is None else named)
        expected = {node for node in targets if self.status[node] not in STOPPED}
        must(stopped == expected and truthy == bool(expected), f"cancel says it stopped {stopped}, it was {expected}")
        self.ordered |= expected
        self.whole |= named is None and truthy

    def called(self, hook: str, ticket: str, nodes: list[int], stored: dict[str, object]) -> None:
        """A hook is called; `stored` is what of the job is on disk at this moment (2, 3, 6)."""
        earlier = self.calls[ticket]
        must(hook == "release" or ticket not in self.released, f"{hook} of {ticket} after its release")
        must(stored, f"{hook} of {ticket}, which is not stored")
        must(not stored["released"], f"{hook} of {ticket} when its release is stored")
        must(hook not in ("provision", "run", "fetch") or stored["location"], f"{hook} of {ticket} without location")
        must(hook != "upload" or stored["payload"], f"{hook} of {ticket} without payload")
        must(hook not in ("run", "fetch") or stored["handle"], f"{hook} of {ticket} without job handle")
        earlier.append(hook)

        if hook in STEPS:
            live = [node for node in nodes if self.status[node] not in STOPPED]
            must(live, f"{hook} of {ticket} after its nodes became {[self.status[node] for node in nodes]}")
        elif hook == "release":
            count, restarts = self.released.setdefault(ticket, (0, self.restarts))
            must(count <= self.restarts - restarts, f"{ticket} is released again")
            self.released[ticket] = count + 1, restarts

    def saw(
        self, dispatch: tuple[str, object], nodes: dict[int, tuple[str, str | None]], runs: dict[int, list[str]]
    ) -> None:
        """Look at the statuses and errors in the store, and at what the backend says of each run of a node (4, 5, 6)."""
        statuses = {node: status for node, (status, _) in nodes.items()}

        for node, (new, error) in nodes.items():
            self._saw_node(node, new, error, statuses)
            ran = runs.get(node, [])
            must(len(ran) <= 1, f"node {node} has run more than once: {ran}")
            must("alive" not in ran or new not in TERMINAL, f"node {node} is {new} and alive")
            must(new != "COMPLETED" or ran == ["COMPLETED"], f"node {node} is {new}, and at the backend {ran}")

        self.status = statuses
        self.error = {node: error for node, (_, error) in nodes.items()}
        must(self.end in (None, dispatch), f"dispatch {self.end} becomes {dispatch}")
        must(dispatch[0] not in TERMINAL or dispatch[0] == self._end(), f"dispatch is {dispatch}: {self.status}")
        self.end = dispatch if dispatch[0] in TERMINAL else None

    def _saw_node(self, node: int, new: str, error: str, statuses: dict[int, str]) -> None:
        old = self.status[node]
        own = node in self.ordered or (node in self.may_abort and new == "CANCELLED" and self.trail[node][:1])
        roots = {n for n in self.above[node] if statuses[n] in ("FAILED", "CANCELLED", "CANCELLING")}
        must(new == old or new in NEXT.get(old, ()), f"node {node} goes from {old} to {new}")
        must(old not in TERMINAL or error == self.error[node], f"the error of node {node}, {old}, is {error!r}")
        must(node not in self.ordered or new in ("CANCELLING", "CANCELLED"), f"node {node} is {new}, it was ordered")
        must(new != "CANCELLING" or own, f"node {node} is {new} without an order")
        must(not roots or new == "CANCELLED", f"node {node} is {new} below {roots}")
        must(new != "CANCELLED" or own or roots, f"node {node} is CANCELLED without a cause")
        must(new != "FAILED" or node in self.may_fail, f"node {node} is FAILED: {error}")
        waits = any(statuses[source] != "COMPLETED" for source in self.sources[node])
        must(not waits or new in ("NEW_OBJECT", "CANCELLED"), f"node {node} is {new} and not all it needs is COMPLETED")

        if new == "CANCELLED" and not own:
            cause = int((re.search(r"node (\d+)", error) or ["", "-1"])[1])
            must(cause in roots and statuses[cause] != "NEW_OBJECT", f"node {node} is CANCELLED by {error!r}")

        if new != old:
            self.trail[node].append(new)

    def _end(self) -> str | None:
        found = set(self.status.values())
        ends = ["CANCELLED"] * self.whole + [end for end in ("FAILED", "CANCELLED") if end in found] + ["COMPLETED"]
        return ends[0] if found <= TERMINAL else None

    def ended(self) -> None:
        """The dispatch is terminal and its dispatcher idle: every job that was uploaded is released (3)."""
        must(self.end, f"the dispatch has not ended: {self.status}")

        for ticket, hooks in self.calls.items():
            must("upload" not in hooks or ticket in self.released, f"{ticket} is never released: {hooks}")
