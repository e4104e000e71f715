"""From `ct.cancel` to nothing left: 64 processes, double-forked, in sessions of their own, deaf to SIGTERM, forking on.

Beside it, in the same run, a bare loop that kills the same processes as fast as Python can read /proc.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

HOSTILE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)

for place in range(64):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            open(sys.argv[1] + "/" + str(os.getpid()), "w").close()
            while True:
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(0.1)
                    os._exit(0)
                os.waitpid(-1, os.WNOHANG)
                time.sleep(0.25)
        os._exit(0)
time.sleep(600)
"""


def survivors(folder: str) -> list[int]:
    """Return the processes of a round that are alive: what /proc says, zombies have no environment."""
    wanted = f"HOSTILE={folder}".encode()
    found = []

    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):
                if wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))

    return found


def wait_for_64(folder: str) -> None:
    while len(os.listdir(folder)) < 64:
        time.sleep(0.002)


def until_gone(folder: str) -> float:
    start = time.perf_counter()

    while survivors(folder):
        pass

    return time.perf_counter() - start


def measure_bare(folder: str) -> float:
    subprocess.Popen([sys.executable, "-c", HOSTILE, folder], env={**os.environ, "HOSTILE": folder})
    wait_for_64(folder)
    start = time.perf_counter()

    while pids := survivors(folder):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return time.perf_counter() - start


def measure_cancel(folder: str) -> tuple[float, float]:
    import covalent_core as ct

    @ct.electron
    def hostile(code: str, folder: str) -> None:
        subprocess.run([sys.executable, "-c", code, folder], env={**os.environ, "HOSTILE": folder}, check=False)

    @ct.lattice(executor=ct.executor.LocalExecutor(grace=0, workdir="/"))
    def workflow(code: str, folder: str) -> None:
        hostile(code, folder)

    dispatch_id = ct.dispatch(workflow)(HOSTILE, folder)
    wait_for_64(folder)
    start = time.perf_counter()
    ct.cancel(dispatch_id)
    returned = time.perf_counter() - start
    until_gone(folder)
    gone = time.perf_counter() - start
    ct.get_result(dispatch_id, wait=True)
    assert not survivors(folder)
    return returned, gone


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        os.environ |= {"COVALENT_CORE_HOME": f"{base}/home", "COVALENT_CORE_IDLE_SECONDS": "1"}
        returned, gone, bare = [], [], []

        for place in range(rounds):
            for kind in ("cancel", "bare"):
                folder = f"{base}/{kind}-{place}"
                os.mkdir(folder)

                if kind == "bare":
                    bare.append(measure_bare(folder))
                else:
                    first, second = measure_cancel(folder)
                    returned.append(first)
                    gone.append(second)

        time.sleep(2)

    for name, times in (("ct.cancel returned", returned), ("all gone", gone), ("bare /proc loop", bare)):
        print(f"{name:20} median {statistics.median(times) * 1e3:6.1f} ms, worst {max(times) * 1e3:6.1f} ms")

    print(f"ratio of medians, all gone / bare loop: {statistics.median(gone) / statistics.median(bare):.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
