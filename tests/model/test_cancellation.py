"""The rules by which a cancel is decided, and what a call of ``ct.cancel`` says about itself."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalent_core._model import cancellation
from covalent_core._model.cancellation import OUTCOMES, CancelOutcome, CancelTarget
from covalent_core._model.status import TERMINAL, Status, final_status

NODES = st.integers(0, 12)


def needs(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the transitive closure, the naive way: join until nothing is added."""
    closure = set(edges)

    while more := {(a, d) for a, b in closure for c, d in closure if b == c} - closure:
        closure |= more

    return closure


def downstream(edges: Iterable[tuple[int, int]], sources: Collection[int]) -> dict[int, int]:
    """Ask with the edges at hand."""
    arrows = list(edges)
    return cancellation.downstream(lambda node: [target for source, target in arrows if source == node], sources)


def outcome(*targets: tuple[str, int, str], whole: bool = False) -> CancelOutcome:
    made = tuple(CancelTarget(node_id, name, what) for name, node_id, what in targets)
    return CancelOutcome("d-1", whole, "Cancelled by user", made)


# --- downstream --------------------------------------------------------------------------------------------------


def test_downstream_of_a_chain() -> None:
    assert downstream([(0, 1), (1, 2), (2, 3)], [1]) == {2: 1, 3: 1}


def test_downstream_of_a_diamond_does_not_reach_its_side() -> None:
    assert downstream([(0, 1), (0, 2), (1, 3), (2, 3), (4, 2)], {1}) == {3: 1}


def test_downstream_of_nothing_is_nothing() -> None:
    assert downstream([(0, 1)], []) == {}
    assert downstream([], [0]) == {}


def test_sources_are_not_downstream_of_each_other() -> None:
    assert downstream([(0, 1), (1, 2)], [0, 1]) == {2: 1}


def test_cause_is_the_source_that_is_nearest_and_then_the_first() -> None:
    edges = [(0, 2), (1, 2), (2, 3), (0, 4), (4, 5), (1, 5)]

    assert downstream(edges, [1, 0]) == {2: 0, 3: 0, 4: 0, 5: 1}


def test_only_what_is_downstream_is_asked_for() -> None:
    asked = []

    def targets(node: int) -> list[int]:
        asked.append(node)
        return {1: [2], 2: [3]}.get(node, [])

    assert cancellation.downstream(targets, [1]) == {2: 1, 3: 1}
    assert asked == [1, 2, 3]


def test_downstream_of_a_long_chain_needs_no_recursion() -> None:
    assert len(cancellation.downstream(lambda node: [node + 1] if node < 50_000 else [], [0])) == 50_000


@given(edges=st.sets(st.tuples(NODES, NODES).filter(lambda edge: edge[0] < edge[1])), sources=st.sets(NODES))
def test_downstream_is_the_transitive_closure(edges: set[tuple[int, int]], sources: set[int]) -> None:
    closure = needs(edges)
    found = downstream(edges, sources)

    assert set(found) == {target for source, target in closure if source in sources} - sources
    assert all(cause in sources and (cause, node) in closure for node, cause in found.items())


# --- outcomes ----------------------------------------------------------------------------------------------------


def test_every_status_has_an_outcome() -> None:
    assert set(OUTCOMES) == set(Status)


@pytest.mark.parametrize(
    ("status", "what", "stopped"),
    [
        (Status.NEW_OBJECT, "prevented", True),
        (Status.DISPATCHING, "stopping", True),
        (Status.RUNNING, "stopping", True),
        (Status.CANCELLING, "already cancelling", False),
        (Status.COMPLETED, "too late: COMPLETED", False),
        (Status.FAILED, "too late: FAILED", False),
        (Status.CANCELLED, "too late: CANCELLED", False),
    ],
)
def test_outcome_of_a_target(status: Status, what: str, stopped: bool) -> None:
    assert OUTCOMES[status] == what
    assert CancelTarget(0, "task", what).stopped is stopped
    assert bool(outcome(("task", 0, what))) is stopped
    assert bool(outcome(("task", 0, what), whole=True)) is stopped


def test_one_target_that_is_stopped_is_enough() -> None:
    assert outcome(("a", 0, "too late: COMPLETED"), ("b", 1, "prevented"))
    assert not outcome(("a", 0, "too late: COMPLETED"), ("b", 1, "already cancelling"))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (outcome(("a", 0, "stopping"), whole=True), "Dispatch d-1 canceled."),
        (outcome(("a", 0, "stopping")), "Dispatch d-1: a(0) canceled."),
        (
            outcome(("a", 0, "stopping"), ("b", 1, "too late: COMPLETED"), ("c", 2, "prevented")),
            "Dispatch d-1: a(0), c(2) canceled.",
        ),
        (outcome(whole=True), "Dispatch d-1: nothing to cancel, it had ended."),
        (outcome(("a", 0, "too late: FAILED")), "Dispatch d-1: nothing to cancel (too late: FAILED)."),
        (
            outcome(
                ("a", 0, "too late: FAILED"),
                ("b", 1, "too late: COMPLETED"),
                ("c", 2, "too late: CANCELLED"),
                ("d", 3, "already cancelling"),
                ("e", 4, "too late: FAILED"),
            ),
            (
                "Dispatch d-1: nothing to cancel "
                "(already cancelling, too late: CANCELLED, too late: COMPLETED, too late: FAILED)."
            ),
        ),
    ],
    ids=["whole", "one", "some", "ended", "too late", "several reasons"],
)
def test_text_of_an_outcome(made: CancelOutcome, text: str) -> None:
    assert str(made) == text
    assert repr(made) == repr(text)


# --- final status ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("", Status.COMPLETED),
        ("COMPLETED", Status.COMPLETED),
        ("FAILED", Status.FAILED),
        ("CANCELLED", Status.CANCELLED),
        ("COMPLETED FAILED", Status.FAILED),
        ("COMPLETED CANCELLED", Status.CANCELLED),
        ("FAILED CANCELLED", Status.FAILED),
        ("COMPLETED FAILED CANCELLED", Status.FAILED),
    ],
)
def test_final_status_of_a_dispatch(found: str, expected: Status) -> None:
    for order in itertools.permutations(found.split()):
        assert final_status((Status(name) for name in order), cancelled=False) is expected
        assert final_status([Status(name) for name in order], cancelled=True) is Status.CANCELLED


def test_statuses_are_strings() -> None:
    assert Status.RUNNING == "RUNNING"
    assert f"{Status.RUNNING}" == str(Status.RUNNING) == "RUNNING"


def test_statuses_that_never_change_again() -> None:
    assert {status for status in Status if status.terminal} == TERMINAL
    assert {str(status) for status in TERMINAL} == {"COMPLETED", "FAILED", "CANCELLED"}
