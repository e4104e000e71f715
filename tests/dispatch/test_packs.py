"""How ready nodes become jobs, over random graphs: nothing is left out, nothing runs twice, nothing runs too early."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from covalent_core._dispatch.graph import WalkNode
from covalent_core._dispatch.packs import JOBS, into_jobs
from covalent_core._model.graph import ExecutorSpec, Role
from covalent_core._model.status import Status

LOCAL, REMOTE = ExecutorSpec("local"), ExecutorSpec("remote", '{"host": "far"}')

#: How an executor packs, and its workers.
SETTINGS = st.tuples(st.sampled_from([None, 1, 2, 3, 100, "chain", "auto"]), st.sampled_from([None, 1, 2, 5]))


def node(node_id: int, role: Role = Role.TASK, *sources: int, executor: ExecutorSpec = LOCAL, **more: Any) -> WalkNode:
    values = {"status": Status.NEW_OBJECT, "options": {}, "output": None, **more}
    found = WalkNode(node_id, f"n{node_id}", role, function=0, function_sources=[], call=b"", call_sources=[],
                     executor=executor, **values)  # fmt: skip
    found.sources = set(sources)
    return found


def graph_of(*nodes: WalkNode) -> dict[int, WalkNode]:
    """Return the nodes with what follows from their sources filled in, as a walk does it."""
    found = {one.node_id: one for one in nodes}

    for one in nodes:
        one.waiting = sum(found[source].status != Status.COMPLETED for source in one.sources)

        for source in one.sources:
            found[source].targets.append(one.node_id)

    return found


def packed(nodes: dict[int, WalkNode], how: Any = None, workers: Any = None) -> list[list[int]]:
    jobs = into_jobs(ready(nodes), nodes, lambda _: (how, workers))
    return [[member.node_id for member in job] for job in jobs]


def ready(nodes: dict[int, WalkNode]) -> list[WalkNode]:
    return [one for one in nodes.values() if one.status == Status.NEW_OBJECT and not one.waiting]


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, WalkNode]:
    """A graph in the midst of its walk: what has begun has had all its sources completed."""
    nodes: list[WalkNode] = []

    for node_id in range(draw(st.integers(1, 14))):
        sources = draw(st.sets(st.integers(0, node_id - 1), max_size=3)) if node_id else set()
        role = draw(st.sampled_from([*[Role.TASK, Role.OPERATION] * 3, Role.SUBLATTICE, Role.RESULT]))
        can_run = all(nodes[source].status == Status.COMPLETED for source in sources)
        statuses = [Status.NEW_OBJECT, *([Status.RUNNING, Status.COMPLETED, Status.FAILED] if can_run else [])]
        broken = any(nodes[source].status in (Status.FAILED, Status.CANCELLED) for source in sources)
        status = Status.CANCELLED if broken else draw(st.sampled_from(statuses))
        # Only what could run before can have been tried before, and operations have no retries.
        tried = can_run and status == Status.NEW_OBJECT and role != Role.OPERATION
        attempt = draw(st.integers(0, 1)) if tried else 0
        executor = draw(st.sampled_from([LOCAL, REMOTE]))
        nodes.append(node(node_id, role, *sources, executor=executor, status=status, attempt=attempt))

    return graph_of(*nodes)


@given(graphs(), st.fixed_dictionaries({LOCAL: SETTINGS, REMOTE: SETTINGS}))
def test_each_ready_node_is_in_one_job_and_no_node_in_two(
    nodes: dict[int, WalkNode], settings: dict[ExecutorSpec, Any]
) -> None:
    jobs = into_jobs(ready(nodes), nodes, settings.__getitem__)
    members = [member.node_id for job in jobs for member in job]

    assert all(jobs)
    assert len(members) == len(set(members))
    assert {one.node_id for one in ready(nodes)} <= set(members)


@given(graphs(), st.fixed_dictionaries({LOCAL: SETTINGS, REMOTE: SETTINGS}))
def test_a_member_comes_after_what_it_needs_and_that_is_completed_or_in_its_job(
    nodes: dict[int, WalkNode], settings: dict[ExecutorSpec, Any]
) -> None:
    for job in into_jobs(ready(nodes), nodes, settings.__getitem__):
        before: set[int] = set()

        for member in job:
            assert member.status == Status.NEW_OBJECT
            assert all(nodes[s].status == Status.COMPLETED for s in member.sources - before)
            before.add(member.node_id)


@given(graphs(), st.fixed_dictionaries({LOCAL: SETTINGS, REMOTE: SETTINGS}))
def test_only_operations_leave_their_executor_and_what_is_special_is_alone(
    nodes: dict[int, WalkNode], settings: dict[ExecutorSpec, Any]
) -> None:
    for job in into_jobs(ready(nodes), nodes, settings.__getitem__):
        others = [member for member in job if member.role != Role.OPERATION]

        assert len({member.executor for member in others}) <= 1
        assert len(job) == 1 or all(member.role == Role.TASK for member in others)
        assert not any(member.attempt for member in job[1:])


@given(graphs(), SETTINGS)
def test_a_number_bounds_the_tasks_of_a_job(nodes: dict[int, WalkNode], setting: Any) -> None:
    how, _ = setting

    for job in into_jobs(ready(nodes), nodes, lambda _: setting):
        tasks = [member for member in job if member.role != Role.OPERATION]
        assert how in ("chain", "auto") or len(tasks) <= (how or 1)


@given(graphs(), SETTINGS)
def test_an_operation_whose_sources_are_one_job_never_has_one_of_its_own(
    nodes: dict[int, WalkNode], setting: Any
) -> None:
    jobs = into_jobs(ready(nodes), nodes, lambda _: setting)
    where = {member.node_id: place for place, job in enumerate(jobs) for member in job}

    for one in nodes.values():
        open_sources = [nodes[source] for source in one.sources if nodes[source].status != Status.COMPLETED]
        in_jobs = {where.get(source.node_id) for source in open_sources}
        followed = all(source.role in (Role.TASK, Role.OPERATION) for source in open_sources)

        if one.role == Role.OPERATION and one.status == Status.NEW_OBJECT and len(in_jobs) == 1 and followed:
            assert where.get(one.node_id) in in_jobs


def test_an_operation_on_a_task_and_on_what_is_known_already_goes_with_the_task() -> None:
    nodes = graph_of(node(0, status=Status.COMPLETED), node(1), node(2, Role.OPERATION, 0, 1))

    assert packed(nodes) == [[1, 2]]


def test_one_job_each_where_nothing_is_said() -> None:
    assert packed(graph_of(*(node(place) for place in range(3)))) == [[0], [1], [2]]


def test_a_number() -> None:
    assert packed(graph_of(*(node(place) for place in range(5))), 2) == [[0, 1], [2, 3], [4]]


def test_a_chain_ends_where_it_needs_what_is_not_in_it() -> None:
    nodes = graph_of(node(0), node(1), node(2, Role.TASK, 0), node(3, Role.TASK, 2), node(4, Role.TASK, 1, 3))

    assert packed(nodes, "chain") == [[0, 2, 3], [1]]


def test_a_chain_ends_where_the_executor_changes() -> None:
    nodes = graph_of(node(0), node(1, Role.TASK, 0, executor=REMOTE))

    assert packed(nodes, "chain") == [[0]]


def test_auto_makes_as_many_jobs_as_there_are_workers() -> None:
    nodes = graph_of(*(node(place) for place in range(10)))

    assert list(map(len, packed(nodes, "auto", 3))) == [4, 4, 2]
    assert len(packed(nodes, "auto")) <= JOBS
    assert len(packed(graph_of(*(node(place) for place in range(100))), "auto")) == JOBS


def test_operations_that_have_no_task_to_go_with_run_together() -> None:
    done = [node(place, status=Status.COMPLETED) for place in range(2)]
    nodes = graph_of(*done, node(2, Role.OPERATION, 0, 1), node(3, Role.OPERATION, 0, 1), node(4, Role.OPERATION, 2, 3))

    assert packed(nodes) == [[2, 3, 4]]


def test_what_is_tried_again_runs_alone() -> None:
    nodes = graph_of(node(0), node(1, attempt=1), node(2))

    assert sorted(packed(nodes, 3)) == [[0, 2], [1]]


def test_what_has_begun_does_not_follow_again() -> None:
    nodes = graph_of(
        node(0, attempt=1), node(1, Role.OPERATION, 0, status=Status.CANCELLED), node(2, Role.OPERATION, 0)
    )

    assert packed(nodes) == [[0, 2]]


def seconds_to_pack(count: int) -> float:
    """Return the processor time that it takes to pack as many tasks as this whose outputs are all returned together."""
    done = [node(place, status=Status.COMPLETED) for place in range(count)]
    tasks = [node(count + place) for place in range(count)]
    sources = range(2 * count)
    last = [node(2 * count, Role.RESULT, *sources), node(2 * count + 1, Role.OPERATION, *sources)]
    nodes = graph_of(*done, *tasks, *last)
    waiting, started = ready(nodes), time.process_time()
    into_jobs(waiting, nodes, lambda _: (None, None))
    return time.process_time() - started


def test_to_pack_four_times_as_many_takes_no_more_than_a_few_times_as_long() -> None:
    few, many = (min(seconds_to_pack(count) for _ in range(3)) for count in (1_000, 4_000))

    assert many < 9 * few
