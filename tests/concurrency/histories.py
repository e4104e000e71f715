"""Read what many clients of one store were told, and say what of it cannot all be true.

A history is a list of calls with their answers, see `clients`; times tell only of calls that do not overlap which came
first. `final` is what the store holds when everything has ended, by dispatch id: status, nodes, orders and edges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Call = dict[str, Any]

RANKS = {"NEW_OBJECT": 0, "DISPATCHING": 1, "RUNNING": 2, "CANCELLING": 3, "COMPLETED": 4, "FAILED": 4, "CANCELLED": 4}
LAST = 4


def problems(history: list[Call], final: dict[str, Any]) -> Iterator[str]:
    """Give a sentence for everything that is wrong."""
    known = {call["dispatch_id"]: call for call in history if call["call"] == "dispatch" and "error" not in call}
    answered = [call for call in history if "error" not in call]

    for call in history:
        if "error" in call:
            yield f"client {call['client']}: {call['call']} raised {call['error']}"

    for dispatch_id in known:
        if RANKS[final.get(dispatch_id, {"status": "NEW_OBJECT"})["status"]] != LAST:
            yield f"{dispatch_id} was acknowledged and is {final.get(dispatch_id)}"

    if missing := {call["dispatch_id"] for call in answered if "dispatch_id" in call} - set(final):
        yield f"{missing} were answered about and are not in the store"
        return

    yield from _wrong_order(answered, final)
    yield from _wrong_results(answered, known)
    yield from _wrong_cancels([call for call in answered if call["call"] == "cancel"], final)


def _wrong_order(history: list[Call], final: dict[str, Any]) -> Iterator[str]:
    """A status never goes back, and one that is terminal never changes, whoever looks."""
    seen: dict[tuple[str, str | None], list[tuple[float, float, str]]] = defaultdict(list)

    for call in history:
        statuses = call.get("statuses") or ({call["dispatch_id"]: call["status"]} if "status" in call else {})

        for dispatch_id, status in statuses.items():
            seen[dispatch_id, None].append((call["start"], call["end"], status))

        for node, status in call.get("nodes", {}).items():
            seen[call["dispatch_id"], node].append((call["start"], call["end"], status))

        if call["call"] == "cancel":
            # At its end at the latest, what a cancel names is being ended or has ended.
            for node in call["targets"]:
                seen[call["dispatch_id"], node].append((call["start"], call["end"], "CANCELLING"))

    for (dispatch_id, node), looks in seen.items():
        end = final[dispatch_id]["status"] if node is None else final[dispatch_id]["nodes"][node]
        yield from _going_back(f"{dispatch_id} node {node}", [*looks, (float("inf"), float("inf"), end)])


def _going_back(what: str, looks: list[tuple[float, float, str]]) -> Iterator[str]:
    ended = sorted((end, status) for _, end, status in looks)
    highest, terminal, place = 0, "", 0

    for start, _, status in sorted(looks):
        while place < len(ended) and ended[place][0] <= start and ended[place][0] != float("inf"):
            earlier = ended[place][1]
            highest = max(highest, RANKS[earlier])
            terminal = earlier if RANKS[earlier] == LAST else terminal
            place += 1

        if RANKS[status] < highest and not (status == "CANCELLING" and terminal and highest == LAST):
            yield f"{what}: {status} after one of rank {highest}"

        if terminal and RANKS[status] == LAST and status != terminal:
            yield f"{what}: {status} after {terminal}"


def _wrong_results(history: list[Call], known: dict[str, Call]) -> Iterator[str]:
    for call in history:
        if call.get("status") == "COMPLETED" and call["result"] != known[call["dispatch_id"]]["expected"]:
            yield f"{call['dispatch_id']} gave {call['result']}, not {known[call['dispatch_id']]['expected']}"

        if call["call"] == "wait" and RANKS[call["status"]] != LAST:
            yield f"{call['dispatch_id']} was waited for and is {call['status']}"


def _wrong_cancels(cancels: list[Call], final: dict[str, Any]) -> Iterator[str]:
    by_dispatch: dict[str, list[Call]] = defaultdict(list)

    for call in cancels:
        by_dispatch[call["dispatch_id"]].append(call)

        if call["truthy"] != bool(call["stopped"]):
            yield f"{call['reason']} says {call['truthy']} and stopped {call['stopped']}"

    for dispatch_id, state in final.items():
        yield from _wrong_orders(dispatch_id, by_dispatch[dispatch_id], state)
        yield from _wrong_ends(dispatch_id, by_dispatch[dispatch_id], state)


def _wrong_orders(dispatch_id: str, calls: list[Call], state: dict[str, Any]) -> Iterator[str]:
    """What is recorded is what was acknowledged, no more and no less, in an order that the times allow."""
    recorded = {order["reason"]: order["targets"] for order in state["orders"]}
    acknowledged = {call["reason"]: call["targets"] for call in calls}

    if recorded != acknowledged or len(state["orders"]) != len(recorded):
        yield f"{dispatch_id}: recorded {recorded}, acknowledged {acknowledged}"
        return

    times = {call["reason"]: call for call in calls}
    order = [times[reason] for reason in recorded]

    for earlier, later in pairwise(order):
        if later["end"] < earlier["start"]:
            yield f"{dispatch_id}: {later['reason']} is recorded after {earlier['reason']}, it was over before"


def _wrong_ends(dispatch_id: str, calls: list[Call], state: dict[str, Any]) -> Iterator[str]:
    """A node is stopped by one order at most, and it is CANCELLED if and only if one stopped it or one above it."""
    stoppers: dict[str, list[str]] = defaultdict(list)

    for call in calls:
        for node in call["stopped"]:
            stoppers[str(node)].append(call["reason"])

    for node, status in state["nodes"].items():
        above = _above(int(node), state["edges"])
        cancelled = bool(stoppers[node]) or any(stoppers[str(source)] for source in above)

        if len(stoppers[node]) > 1 or cancelled != (status == "CANCELLED"):
            yield f"{dispatch_id} node {node} is {status}, stopped by {stoppers[node]}, below {sorted(above)}"

    whole = any(call["task_ids"] is None and call["truthy"] for call in calls)
    expected = "CANCELLED" if whole or "CANCELLED" in state["nodes"].values() else "COMPLETED"

    if state["status"] != expected:
        yield f"{dispatch_id} is {state['status']}, expected {expected}: {state['nodes']}"


def _above(node: int, edges: list[list[int]]) -> set[int]:
    found: set[int] = set()
    left = [node]

    while left:
        sources = {source for source, target in edges if target == left[-1]} - found
        left.pop()
        left.extend(sources)
        found |= sources

    return found
