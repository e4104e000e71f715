"""Random schedules: ``python tests/model/schedules.py --cases 10000 --seed 1``.

Draws graphs, oddities of the backend and schedules of cancels, crashes and restarts, plays each in a world of its own
and lets the model judge. The seed is printed; the same seed with as many cases draws the same. A case that fails is
made as small as possible and printed, as the code that plays it again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from simulated import ODDITIES
from world import ANYWHERE, PLACES, Cancel, Case, Kill, Tell, World, enter

from covalent_core._home import Home
from covalent_core._store import Store

DEPTH, NODES = 6, 40
#: After so many dispatches a new store is begun, so that none gets slow.
CASES_A_STORE = 500


#: Small graphs most of the time: what goes wrong in a large one mostly goes wrong in a small one, and sooner.
SIZES = st.sampled_from([1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, None])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    """Draw a graph: by node the earlier ones that it needs."""
    size = draw(SIZES) or draw(st.integers(1, NODES))
    depth: list[int] = []
    graph = []

    for node in range(size):
        drawn = draw(st.lists(st.integers(0, node - 1), max_size=3, unique=True)) if node else []
        sources = tuple(sorted(source for source in drawn if depth[source] < DEPTH))
        depth.append(1 + max((depth[source] for source in sources), default=0))
        graph.append(sources)

    return tuple(graph)


NODE = st.integers(0, NODES - 1)
CANCELS = st.builds(Cancel, st.one_of(st.none(), st.lists(NODE, min_size=1, max_size=3).map(tuple)), st.booleans())
EVENTS = st.one_of(CANCELS, CANCELS, st.just(Kill()), st.just(Kill()), st.just(Tell()))
GAPS = st.one_of(st.integers(1, 3), st.integers(1, 30), st.integers(1, 100))
WHERE = st.one_of(st.just(ANYWHERE), st.sampled_from(PLACES))
CASES = st.builds(
    Case,
    graphs(),
    st.lists(st.tuples(st.integers(0, 7) | NODE, st.sampled_from(ODDITIES)), max_size=5).map(tuple),
    st.lists(st.tuples(GAPS, WHERE, EVENTS), max_size=6).map(tuple),
    st.sampled_from([None, None, 1, 2]),
)


class Stage:
    """Where cases are played: a store in memory where there is one, and a new one after a failure."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self._count = 0
        self.played = 0

    def play(self, case: Case) -> None:
        if self._count % CASES_A_STORE == 0:
            self._set_up()

        self._count += 1
        self.played += 1

        try:
            World(case, self._home, self._store, self._results).play()
        except BaseException:
            self._count = 0
            raise

    def _set_up(self) -> None:
        self.strike()
        self._home = Home(self._folder / "home")
        self._store = Store(self._home)
        self._results = self._folder / "results"
        self._results.mkdir()

    def strike(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()


def run(cases: int, start: int) -> int:
    """Play random cases and return how many; the first that fails is raised, as small as it can be made."""
    stage = Stage()

    @seed(start)
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False)
    @given(CASES)
    def play(case: Case) -> None:
        stage.play(case)

    play()
    stage.strike()
    return stage.played


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"--seed {options.seed} --cases {options.cases}", flush=True)
    enter()
    # What has been imported is not looked through at each collection.
    gc.freeze()
    gc.set_threshold(20_000)
    start = time.perf_counter()
    played = run(options.cases, options.seed)
    print(f"{played} cases in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
