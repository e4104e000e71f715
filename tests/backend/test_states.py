"""What a backend calls the states of its jobs, in plain words."""

from __future__ import annotations

import pytest

from covalent_core.backend import Alive, Look, Over, State, States, Unknown

STATES = States(
    "Slurm job",
    {
        "PENDING": State("it waits for its turn", waits=True),
        "REQUEUE_HOLD": State("it is held", waits=True, advice="scontrol release lets it go on"),
        "RUNNING": State("it runs"),
        "COMPLETED": State("its script came to its end", over=True, retry=True),
        "TIMEOUT": State("out of time", over=True, advice="ask with time="),
    },
    hopeless={"InvalidQOS": "its QOS is not valid"},
)


@pytest.mark.parametrize(
    ("state", "reason", "look"),
    [
        ("RUNNING", "", Alive("RUNNING")),
        ("RUNNING", "node17", Alive("RUNNING")),
        ("PENDING", "", Alive("PENDING", "Slurm job 7: it waits for its turn")),
        ("PENDING", "QOSMaxJobs", Alive("PENDING", "Slurm job 7: it waits for its turn (QOSMaxJobs)")),
        ("PENDING", "InvalidQOS", Alive("PENDING", "Slurm job 7 may wait for ever: its QOS is not valid (InvalidQOS)")),
        ("REQUEUE_HOLD", "", Alive("REQUEUE_HOLD", "Slurm job 7: it is held; scontrol release lets it go on")),
        ("TIMEOUT", "TimeLimit", Over("TIMEOUT", "TimeLimit", -15)),
        ("", "", Unknown("Slurm job 7 is listed without a state")),
        # What nobody has heard of ends nothing.
        ("NEW", "", Alive("NEW")),
    ],
)
def test_a_record_becomes_a_look(state: str, reason: str, look: Look) -> None:
    assert STATES.look("7", state, reason, -15) == look


@pytest.mark.parametrize(
    ("given", "explained"),
    [
        (
            ("TIMEOUT", "TimeLimit", -15),
            (
                "Slurm job 7 did not end by itself: out of time (TIMEOUT, TimeLimit, signal 15); ask with time=",
                False,
            ),
        ),
        (
            ("COMPLETED", "COMPLETED", 3),
            ("Slurm job 7 did not end by itself: its script came to its end (COMPLETED, exit code 3)", True),
        ),
        (
            ("NEW", "", 0),
            (
                "Slurm job 7 did not end by itself: it is in the state NEW, which is not known here (NEW)",
                True,
            ),
        ),
    ],
)
def test_an_end_is_explained(given: tuple[str, str, int], explained: tuple[str, bool]) -> None:
    assert STATES.explain("7", *given) == explained
