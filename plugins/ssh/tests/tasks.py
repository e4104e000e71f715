"""What the tests run on the far side. Pickled by value, for this module is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle

import covalent_core as ct

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def count(folder, seconds=0.0, payload=b""):
    """Leave a line for each time this was run."""
    with open(Path(folder, "runs"), "a") as file:
        file.write(f"{os.getpid()}\n")

    time.sleep(seconds)
    return len(payload)


def count_until_told(folder):
    """Leave a line for each time this was run, and go on until there is a file ``go``."""
    count(folder)

    while not Path(folder, "go").exists():
        time.sleep(0.01)


def be_hostile(folder):
    """Fork, leave the session, ignore SIGTERM, close and exec: all that makes a process hard to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    for place in range(8):
        if os.fork() == 0:
            os.setsid()

            if os.fork() == 0:
                if place % 2:
                    subprocess.Popen(["sh", "-c", "trap '' TERM; while true; do sleep 1; done"], start_new_session=True)

                os.closerange(0, 256)
                Path(folder, f"hostile-{place}").write_text(str(os.getpid()))
                time.sleep(60)

            os._exit(0)

    time.sleep(60)


def talk(folder):
    """Say one thing after the other, each when it may."""
    for number in range(3):
        print(number)

        while not Path(folder, str(number)).exists():
            time.sleep(0.01)


def dispatch_one(executor, function, *arguments):
    """Dispatch a lattice of one electron."""
    electron = ct.electron(function, executor=executor)

    @ct.lattice
    def workflow(*arguments):
        return electron(*arguments)

    return ct.dispatch(workflow)(*arguments)


def run_one(executor, function, *arguments):
    """Run a lattice of one electron to its end."""
    return ct.get_result(dispatch_one(executor, function, *arguments), wait=True, timeout=60)


def runs_in(folder):
    """Return the processes in which `count` has been run."""
    file = Path(folder, "runs")
    return [int(line) for line in file.read_text().split()] if file.exists() else []
