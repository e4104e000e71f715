"""What a task costs on Dask: 1,000 no-op electrons beside as many calls of ``client.submit``, and what a cancel takes.

The scheduler and two workers are processes of this machine; they end at the end. Ratios are within one run.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "tests"), str(HERE.parents[3] / "tests")]

from cluster import Cluster  # noqa: E402
from probes import wait_until  # noqa: E402
from work import Work  # noqa: E402

TASKS = 1000
ROUNDS = 3
CANCELS = 15


def nothing(x: int) -> int:
    return x


def measure_submit(cluster: Cluster) -> float:
    with cluster.client() as client:
        client.gather([client.submit(nothing, -place, pure=False) for place in range(4)])
        start = time.perf_counter()
        futures = [client.submit(nothing, place, pure=False) for place in range(TASKS)]
        assert client.gather(futures) == list(range(TASKS))
        return time.perf_counter() - start


def measure_tasks(work: Work) -> float:
    import covalent_core as ct

    electron = ct.electron(nothing, executor=work.executor)

    @ct.lattice
    def fan_out(count: int) -> list[int]:
        return [electron(place) for place in range(count)]

    assert ct.dispatch_sync(fan_out)(4).result == [0, 1, 2, 3]
    start = time.perf_counter()
    result = ct.dispatch_sync(fan_out)(TASKS)
    assert result.result == list(range(TASKS)), result.error
    return time.perf_counter() - start


def measure_cancels(folder: Path, cluster: Cluster) -> list[float]:
    """Return how long it takes from a cancel until the processes of the task are gone, with all threads busy."""
    filling = Work(folder / "filling", cluster.address)
    filling.start("filler")
    filling.until_begun("filler")
    found = [measure_cancel(Work(folder / str(number), cluster.address)) for number in range(CANCELS)]
    filling.go()
    return found


def measure_cancel(work: Work) -> float:
    import covalent_core as ct

    dispatch_id = work.start()
    work.until_begun()
    start = time.perf_counter()
    ct.cancel(dispatch_id)
    wait_until(lambda: not work.living())
    seconds = time.perf_counter() - start
    work.end(dispatch_id)
    return seconds


def main(folder: Path) -> None:
    os.environ |= {"COVALENT_CORE_HOME": f"{folder}/store", "COVALENT_CORE_IDLE_SECONDS": "1"}
    cluster = Cluster(folder / "dask")
    cluster.start(threads=1)
    work = Work(folder / "tasks", cluster.address)
    rows: dict[str, list[float]] = {"an electron": [], "client.submit": []}

    for _ in range(ROUNDS):
        rows["an electron"].append(measure_tasks(work))
        rows["client.submit"].append(measure_submit(cluster))

    for name, seconds in rows.items():
        each = [1000 * value / TASKS for value in seconds]
        print(f"{name:<16} {statistics.median(each):6.2f} ms each  ({min(each):.2f} - {max(each):.2f})")

    ratios = [a / b for a, b in zip(*rows.values(), strict=True)]
    print(f"{'ratio':<16} {statistics.median(ratios):6.2f}")
    cancels = [1000 * seconds for seconds in measure_cancels(folder, cluster)]
    print(f"{'cancel to gone':<16} {statistics.median(cancels):6.0f} ms  ({min(cancels):.0f} - {max(cancels):.0f})")
    time.sleep(2)
    cluster.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        main(Path(name))
