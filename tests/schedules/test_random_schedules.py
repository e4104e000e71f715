"""What the core does in thousands of random worlds is what a model of its contract allows.

``COVALENT_CORE_TEST_CASES`` says in how many, ``COVALENT_CORE_TEST_SEED`` in which; `play` says how one is played
again. Unless asked for others it is always the same worlds, so that a failure is due to a change; ``nox -s soak`` looks
into new ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = os.environ.get("COVALENT_CORE_TEST_CASES", "3000")
SEED = os.environ.get("COVALENT_CORE_TEST_SEED", "20261121")

#: What random schedules have found in the core, as small as they could be made.
FOUND = {
    "a node that is cancelled while its pack is being stored by a dispatcher that is killed then": (
        "Case((Vertex(), Vertex(), Vertex(), Vertex(), Vertex((2,))), (), "
        "((2, 'nothing to do', Cancel((4,))), (2, 'anywhere', Kill())), pack='auto')"
    ),
    "a fetch that hangs after everything has been reported, so that nothing is left to be cancelled": (
        "Case((Vertex(), Vertex((0,))), ((0, 'reports'), (0, 'fetch hangs'), (0, 'task slow')), pack='chain')"
    ),
    "an order that came too late, noticed while a dispatch is taken up": (
        "Case((Vertex(),), (), ((1, 'release is called', Kill()), (2, 'before a commit', Cancel())))"
    ),
    "a cancel that nobody is told of while a hook waits to be called again": (
        "Case((Vertex(),), ((0, 'run out of reach'),), ((1, 'run answers', Cancel(rings=False)),))"
    ),
    "a node of a pack that is given up, whose job may be alive while another of its nodes starts again": (
        "Case((Vertex(), Vertex()), ((0, 'task hangs'), (0, 'cancel hangs')), ((1, 'run is called', Cancel((1,))), "
        "(1, 'cancel is called', Cancel((1,), force=True))), pack=2)"
    ),
    "a dispatcher told to end while it takes up a sublattice that nobody wants any more": (
        "Case((Vertex(role='sublattice', graph=(Vertex(),)),), (), "
        "((1, 'before a sublattice', Tell()), (2, 'anywhere', Cancel(rings=False))))"
    ),
}


def play(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(__file__).with_name("play.py")), *options]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long("plays thousands of schedules")
def test_random_schedules_are_allowed_by_the_model() -> None:
    print(f"COVALENT_CORE_TEST_SEED={SEED}")
    played = play("--cases", CASES, "--seed", SEED)
    print(played.stdout)

    assert played.returncode == 0, played.stdout


@pytest.mark.parametrize("case", FOUND.values(), ids=FOUND)
def test_what_they_have_found_does_not_come_back(case: str) -> None:
    played = play("--case", case)

    assert played.returncode == 0, played.stdout
