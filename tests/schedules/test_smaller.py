"""What is printed of a schedule that fails is small, and can be played again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

_path = sys.path[:]
sys.path.insert(0, str(Path(__file__).parent))

try:
    import play
    from cases import Cancel, Case, Kill, Vertex, draw_case
    from runs import Violation
    from smaller import smallest
finally:
    # What is imported here adds to it as well, and other tests would find the executors of this folder installed.
    sys.path[:] = _path


def drawn(count: int = 1000) -> list[Case]:
    random = Random(1)
    return [draw_case(random) for _ in range(count)]


def kills_below_a_sublattice(case: Case) -> bool:
    roles = [vertex.role for vertex in case.graph]
    return "sublattice" in roles and any(isinstance(event, Kill) for _, _, event in case.schedule)


def names_two_nodes(case: Case) -> bool:
    names = [len(event.nodes or ()) for _, _, event in case.schedule if isinstance(event, Cancel)]
    return max(names, default=0) >= 2 and len(case.graph) >= 2


def loses_a_pack(case: Case) -> bool:
    return case.pack == "chain" and "run loses" in {oddity for _, oddity in case.oddities}


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (
            kills_below_a_sublattice,
            Case((Vertex(role="sublattice", graph=(Vertex(),)),), (), ((1, "anywhere", Kill()),)),
        ),
        (names_two_nodes, Case((Vertex(), Vertex()), (), ((1, "anywhere", Cancel((0, 0))),))),
        (loses_a_pack, Case((Vertex(),), ((0, "run loses"),), pack="chain")),
    ],
)
def test_a_case_is_made_as_small_as_it_can_be(fails: Callable[[Case], bool], expected: Case) -> None:
    failing = [case for case in drawn() if fails(case)]
    found = {smallest(case, fails) for case in failing[:20]}

    assert failing
    assert found == {expected}


class Stage:
    """A stage on which only a second cancel fails."""

    def play(self, case: Case) -> None:
        if sum(isinstance(event, Cancel) for _, _, event in case.schedule) > 1:
            raise Violation("cancelled twice")


def test_a_failure_is_told_with_its_case_which_can_be_played_again() -> None:
    stage = Stage()
    told = next(filter(None, (play.play_or_tell(stage, case) for case in drawn())))  # type: ignore[arg-type]
    text, _, case = told.partition("this case fails: ")

    assert "Violation: cancelled twice" in text
    assert eval(case, play.NAMES) == Case((Vertex(),), (), ((1, "anywhere", Cancel()), (1, "anywhere", Cancel())))


def test_after_a_failure_the_next_case_is_played_on_a_stage_of_its_own() -> None:
    stage = play.Stage()
    before = stage._folder

    with pytest.raises(AttributeError):
        stage.play(None)  # type: ignore[arg-type]

    assert stage._folder != before
    assert not before.exists()
    assert stage._home.database.exists()
    stage.strike()
