"""Random schedules: ``python tests/model/schedules.py --cases 10000``.

Draws graphs, oddities of the backend and schedules of cancels, crashes and restarts, plays each in a world of its own
and lets the model judge. Each process prints the options with which it draws the same cases again, its seed among them.
A case that fails is made as small as possible and printed; ``--case "Case(...)"`` plays it again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent))

from cases import CASES, Cancel, Case, Kill, Tell
from world import World, enter

from covalent_core._home import Home
from covalent_core._store import Store

#: What stands in a case as it is printed.
NAMES = {"Case": Case, "Cancel": Cancel, "Kill": Kill, "Tell": Tell}
#: After so many dispatches a new store is begun, so that none gets slow.
CASES_A_STORE = 500


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
        self._folder.mkdir()
        self._home = Home(self._folder / "home")
        self._store = Store(self._home)
        self._results = self._folder / "results"
        self._results.mkdir()

    def strike(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def run(cases: int, start: int) -> int:
    """Play random cases and return how many; the first that fails is raised, as small as it can be made."""
    stage = Stage()

    @seed(start)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(CASES)
    def play(case: Case) -> None:
        stage.play(case)

    try:
        play()
    finally:
        stage.strike()

    return stage.played


def run_in_processes(cases: int, start: int, processes: int) -> bool:
    """Play random cases in several processes, each with a seed of its own; return whether all have passed."""
    share = str(-(-cases // processes))
    alone = [sys.executable, __file__, "--processes", "1", "--cases", share, "--seed"]
    running = [subprocess.Popen([*alone, str(start + place)]) for place in range(processes)]
    codes = [process.wait() for process in running]
    return not any(codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--case", help="a case as it is printed, to be played once")
    options = parser.parse_args()

    if options.case is None and options.processes > 1:
        sys.exit(not run_in_processes(options.cases, options.seed, options.processes))

    logging.disable(logging.CRITICAL)
    enter()
    # What has been imported is not looked through at each collection.
    gc.freeze()
    gc.set_threshold(20_000)
    start = time.perf_counter()

    if options.case is not None:
        Stage().play(eval(options.case, NAMES))
    else:
        print(f"--processes 1 --cases {options.cases} --seed {options.seed}", flush=True)
        played = run(options.cases, options.seed)
        print(f"{played} cases in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
