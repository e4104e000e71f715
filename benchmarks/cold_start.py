"""From nothing to a printed result: the import, and two tasks in an empty home, beside a bare process pool."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

TWO_TASKS = """
import covalent_core as ct

@ct.electron
def add(a, b):
    return a + b

@ct.electron
def square(a):
    return a ** 2

@ct.lattice
def workflow(x):
    return square(add(x, 2))

print(ct.dispatch_sync(workflow)(3).result)
"""

POOL = """
from concurrent.futures import ProcessPoolExecutor

def add(a, b):
    return a + b

def square(a):
    return a ** 2

if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        print(pool.submit(square, pool.submit(add, 3, 2).result()).result())
"""


def timed(code: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert run.stdout in ("", "25\n"), run.stdout
    return time.perf_counter() - start


def main(rounds: int = 7) -> None:
    rows: dict[str, list[float]] = {"python -c pass": [], "import": [], "two tasks": [], "bare pool": []}
    # Modules are compiled once, as pip does when it installs them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as home:
            environment |= {"HOME": home, "COVALENT_CORE_HOME": f"{home}/store", "COVALENT_CORE_IDLE_SECONDS": "0.5"}
            rows["python -c pass"].append(timed("pass", environment))
            rows["import"].append(timed("import covalent_core", environment))
            rows["two tasks"].append(timed(TWO_TASKS, environment))
            rows["bare pool"].append(timed(POOL, environment))
            time.sleep(1.5)

    for name, times in rows.items():
        print(f"{name:16} median {statistics.median(times[1:]) * 1e3:7.1f} ms, worst {max(times[1:]) * 1e3:7.1f} ms")

    ratio = statistics.median(rows["two tasks"]) / statistics.median(rows["bare pool"])
    print(f"ratio two tasks / bare pool: {ratio:.1f}")


if __name__ == "__main__":
    main()
