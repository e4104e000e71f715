"""Random schedules: ``python tests/schedules/play.py --cases 10000``.

Draws graphs, oddities of the backend and schedules of cancels, crashes and restarts, plays each in a world of its own
and lets the model judge. They are drawn in rounds, each from a seed of its own, so the number of processes does not
matter. Of a round that fails the seed is printed, and the case, as small as it can be made: ``--seed`` plays the round
again, ``--case "Case(...)"`` the case.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from cases import Cancel, Case, Kill, Tell, Vertex, draw_case
from smaller import smallest
from world import World, enter

from covalent_core._home import Home
from covalent_core._store.store import Store

#: What stands in a case as it is printed.
NAMES = {"Case": Case, "Cancel": Cancel, "Kill": Kill, "Tell": Tell, "Vertex": Vertex}
#: How many cases are drawn from one seed, and share a store: it would grow without end.
ROUND = 500


class Stage:
    """Where cases are played: a store in memory where there is one, and a new one after a failure."""

    def __init__(self) -> None:
        self._set_up()

    def play(self, case: Case) -> None:
        try:
            World(case, self._home, self._store, self._results).play()
        except BaseException:
            self.strike()
            self._set_up()
            raise

    def _set_up(self) -> None:
        memory = Path("/dev/shm")
        # Never one that was there before: what has been found out about a folder is kept.
        self._folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self._home = Home(self._folder / "home")
        self._store = Store(self._home)
        self._results = self._folder / "results"
        self._results.mkdir()

    def strike(self) -> None:
        shutil.rmtree(self._folder)


def play_round(start: int) -> str:
    """Play the cases of one seed; return what is wrong with the first that fails, or nothing."""
    stage, random = Stage(), Random(start)

    try:
        return next((problem for _ in range(ROUND) if (problem := play_or_tell(stage, draw_case(random)))), "")
    finally:
        stage.strike()


def play_or_tell(stage: Stage, case: Case) -> str:
    """Play a case; where it fails, return how, and the smallest case that fails so."""
    kind = failure(stage, case)

    if kind is None:
        return ""

    small = smallest(case, lambda other: type(failure(stage, other)) is type(kind))
    problem = failure(stage, small) or kind
    return f"{''.join(traceback.format_exception(problem))}\nthis case fails: {small!r}"


def failure(stage: Stage, case: Case) -> BaseException | None:
    try:
        stage.play(case)
    except BaseException as error:
        return error

    return None


def prepare() -> None:
    """Make this process one that plays."""
    logging.disable(logging.CRITICAL)
    enter()
    # What has been imported is not looked through at each collection.
    gc.freeze()
    gc.set_threshold(20_000)


def play_rounds(seeds: range, processes: int) -> int:
    """Play the cases of many seeds and return how many rounds have passed; the first that does not is printed."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=prepare) as pool:
        for number, problem in zip(seeds, pool.map(play_round, seeds), strict=True):
            if problem:
                pool.shutdown(wait=False, cancel_futures=True)
                print(f"{problem}\nto play this round again: --cases {ROUND} --seed {number}")
                return number - seeds.start

    return len(seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=Random().randrange(2**32))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--case", help="a case as it is printed, to be played once")
    options = parser.parse_args()

    if options.case is not None:
        prepare()
        stage = Stage()

        try:
            stage.play(eval(options.case, NAMES))
        finally:
            stage.strike()

        return

    seeds = range(options.seed, options.seed + -(-options.cases // ROUND))
    print(f"--cases {len(seeds) * ROUND} --seed {options.seed}", flush=True)
    began = time.perf_counter()
    passed = play_rounds(seeds, options.processes)
    print(f"{passed * ROUND} cases have passed in {time.perf_counter() - began:.1f} s")
    sys.exit(passed < len(seeds))


if __name__ == "__main__":
    main()
