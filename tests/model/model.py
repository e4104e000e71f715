"""What may happen to a dispatch, told by its graph and its history alone: points 1 to 6, 9 and 10 of the contract.

It knows nothing of the code under test. A world tells it what a client, a backend and a reader of the store see, at the
moment at which they see it; `Violation` is raised at the first thing that the contract does not allow.
"""

from __future__ import annotations

import re
from collections import defaultdict

STEPS = ("pickle", "upload", "provision", "run", "fetch")
#: What of a job must be in the store before a step may follow it.
NEEDS = {"upload": "payload", "provision": "location", "run": "handle", "fetch": "handle"}
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED"}
STOPPED = TERMINAL | {"CANCELLING"}
NEXT = {
    "NEW_OBJECT": {"DISPATCHING", "CANCELLED"},
    "DISPATCHING": {"RUNNING"} | STOPPED - {"COMPLETED"},
    "RUNNING": STOPPED,
    "CANCELLING": {"CANCELLED"},
}


class Violation(AssertionError):  # noqa: N818
    """The contract does not allow what has been seen."""


def must(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Model:
    """One dispatch. `may_fail` and `may_abort`: the nodes that their own task, or an executor, may end so."""

    def __init__(self, sources: dict[int, set[int]], may_fail: set[int], may_abort: set[int]) -> None:
        self.sources, self.may_fail, self.may_abort = sources, may_fail, may_abort
        self.nodes = dict.fromkeys(sources, ("NEW_OBJECT", ""))
        self.trail: dict[int, list[str]] = {node: [] for node in sources}
        self.end: tuple[str, object] | None = None
        self.ordered: set[int] = set()
        self.whole, self.restarts = False, 0
        self.calls: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.above: dict[int, set[int]] = {}

        for node in sorted(sources):
            self.above[node] = sources[node].union(*(self.above[source] for source in sources[node]))

    def cancelled(self, named: list[int] | None, truthy: bool, stopped: set[int]) -> None:
        """`ct.cancel` has returned: it stops what had not ended and was not being ended, and says so (1, 5, 10)."""
        targets = set(self.sources if named is None else named)
        expected = {node for node in targets if self.nodes[node][0] not in STOPPED}
        must(stopped == expected and truthy == bool(expected), f"cancel says it stopped {stopped}, it was {expected}")
        self.ordered |= expected
        self.whole |= named is None and truthy

    def called(self, hook: str, ticket: str, nodes: list[int], stored: dict[str, object]) -> None:
        """A hook is called; `stored` is what of the job is on disk at this moment (2, 3, 9)."""
        must(stored and not stored["released"], f"{hook} of {ticket}, which is not stored, or as released")
        must(hook not in NEEDS or stored[NEEDS[hook]], f"{hook} of {ticket} without {NEEDS.get(hook)}")
        live = [node for node in nodes if self.nodes[node][0] not in STOPPED]
        must(hook not in STEPS or live, f"{hook} of {ticket}: {[self.nodes[node] for node in nodes]}")
        releases = [restarts for earlier, restarts in self.calls[ticket] if earlier == "release"]
        must(hook == "release" or not releases, f"{hook} of {ticket} after its release")
        # Only if the dispatcher died before it could be stored is a release called again.
        must(self.restarts not in releases, f"{ticket} is released again")
        self.calls[ticket].append((hook, self.restarts))

    def saw(self, dispatch: tuple[str, object], nodes: dict[int, tuple[str, str]], runs: dict[int, list[str]]) -> None:
        """Look at status and error of all nodes, and how each run of a node stands at the backend (3, 4, 5, 6)."""
        roots = {node for node, (status, _) in nodes.items() if self._own(node, status)}

        for node, (new, error) in nodes.items():
            self._saw_node(node, new, error, nodes, roots & self.above[node])
            ran = runs.get(node, [])
            must(len(ran) <= 1, f"node {node} has run more than once: {ran}")
            must("alive" not in ran or new not in TERMINAL, f"node {node} is {new} and alive")
            must(new != "COMPLETED" or ran == ["COMPLETED"], f"node {node} is {new}, and at the backend {ran}")

        self.nodes = nodes
        must(self.end in (None, dispatch), f"dispatch {self.end} becomes {dispatch}")
        must(dispatch[0] not in TERMINAL or dispatch[0] == self._outcome(), f"dispatch is {dispatch[0]}: {nodes}")
        self.end = dispatch if dispatch[0] in TERMINAL else None

    def _saw_node(self, node: int, new: str, error: str, nodes: dict[int, tuple[str, str]], roots: set[int]) -> None:
        old, told = self.nodes[node]
        own = self._own(node, new)
        ready = all(nodes[source][0] == "COMPLETED" for source in self.sources[node])
        cause = re.search(r"node (\d+)", error)
        must(new == old or new in NEXT.get(old, ()), f"node {node} goes from {old} to {new}")
        must(old not in TERMINAL or error == told, f"the error of node {node} changes from {told!r} to {error!r}")
        must(ready or new in ("NEW_OBJECT", "CANCELLED"), f"node {node} is {new} before all it needs is COMPLETED")
        must(node not in self.ordered or new in ("CANCELLING", "CANCELLED"), f"node {node}, to be cancelled, is {new}")
        must(new not in ("CANCELLING", "CANCELLED") or own or roots, f"node {node} is {new} without a cause")
        must(not roots or new == "CANCELLED", f"node {node} is {new} below {roots}")
        must(new != "CANCELLED" or own or (cause and int(cause[1]) in roots), f"node {node}, below {roots}: {error!r}")
        must(new != "FAILED" or node in self.may_fail, f"node {node} is FAILED: {error}")
        self.trail[node] += [new] * (new != old)

    def _own(self, node: int, status: str) -> bool:
        """Whether a node has failed, or is cancelled for a reason of its own."""
        aborted = node in self.may_abort and status == "CANCELLED" and bool(self.trail[node])
        return status == "FAILED" or node in self.ordered or aborted

    def _outcome(self) -> str | None:
        """Return how the dispatch ends, None where not all of its nodes have."""
        found = {status for status, _ in self.nodes.values()}
        ends = ["CANCELLED"] * self.whole + [end for end in ("FAILED", "CANCELLED") if end in found] + ["COMPLETED"]
        return ends[0] if found <= TERMINAL else None

    def ended(self) -> None:
        """Nothing is left to be done: the dispatch has ended, and every job that was uploaded is released (3)."""
        must(self.end, f"the dispatch has not ended: {self.nodes}")

        for ticket, calls in self.calls.items():
            hooks = {hook for hook, _ in calls}
            must("upload" not in hooks or "release" in hooks, f"{ticket} is never released: {calls}")
