"""How nodes that can start are put together into jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from covalent_core._dispatch.graph import WalkNode
from covalent_core._model.graph import ExecutorSpec, Role
from covalent_core._model.status import Status

#: How many jobs ``pack="auto"`` makes where the executor has no ``max_workers``.
JOBS = 8

#: How many nodes a job has at most.
MOST = 10_000


def into_jobs(
    ready: Iterable[WalkNode], nodes: Mapping[int, WalkNode], setting: Callable[[ExecutorSpec], tuple[Any, Any]]
) -> list[list[WalkNode]]:
    """Return the members of each job, in the order in which they are to run.

    Args:
        ready: The nodes that can start now.
        setting: Gives for an executor how it packs and how many workers it has, if it says so.
    """
    by_executor: dict[ExecutorSpec, list[WalkNode]] = {}

    for node in ready:
        assert node.executor is not None
        by_executor.setdefault(node.executor, []).append(node)

    found = []

    for executor, group in by_executor.items():
        how, workers = setting(executor)
        found += [
            _with_followers(chunk, nodes, chain=how in ("chain", "auto")) for chunk in _chunks(group, how, workers)
        ]

    return found


def _chunks(ready: list[WalkNode], how: Any, workers: Any) -> Iterable[Sequence[WalkNode]]:
    # Operations whose sources were in several jobs have none to run with: all that are ready run together.
    operations = [node for node in ready if node.role == Role.OPERATION]
    tasks = [node for node in ready if node.role == Role.TASK and not node.attempt and not node.needs_own_process]
    together = {node.node_id for node in operations + tasks}
    alone = [node for node in ready if node.node_id not in together]
    size = how if isinstance(how, int) else 1

    if how == "auto":
        size = ceil(len(tasks) / (workers if isinstance(workers, int) else JOBS)) or 1

    yield from ([node] for node in alone)
    size = min(size, MOST)
    yield from (tasks[place : place + size] for place in range(0, len(tasks), size))
    yield from (operations[place : place + MOST] for place in range(0, len(operations), MOST))


def _with_followers(members: Sequence[WalkNode], nodes: Mapping[int, WalkNode], *, chain: bool) -> list[WalkNode]:
    """Add the nodes that can run right after these: operations on their outputs and, in a chain, other tasks."""
    found = list(members)
    # Counted rather than looked up: what needs a great many nodes is met once for each of them.
    waiting: dict[int, int] = {}

    for node in found:
        if node.role not in (Role.TASK, Role.OPERATION) or node.needs_own_process:
            continue

        for target in (nodes[node_id] for node_id in node.targets):
            waiting[target.node_id] = waiting.get(target.node_id, target.waiting) - 1

            if not waiting[target.node_id] and len(found) < MOST and _can_follow(target, members[0], chain):
                found.append(target)

    return found


def _can_follow(target: WalkNode, first: WalkNode, chain: bool) -> bool:
    if target.status != Status.NEW_OBJECT or target.attempt:
        return False

    if target.role == Role.OPERATION:
        return True

    return chain and target.role == Role.TASK and target.executor == first.executor and not target.needs_own_process
