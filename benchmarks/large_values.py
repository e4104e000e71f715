"""A 100 MB array through two tasks, beside the same in a bare process pool; and how much of it the dispatcher held."""

from __future__ import annotations

import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 100_000_000


def make(size: int) -> Any:
    return np.ones(size, dtype=np.uint8)


def double(array: Any) -> Any:
    array *= 2
    return array


def measure_pool() -> float:
    with ProcessPoolExecutor() as pool:
        pool.submit(make, 1).result()
        start = time.perf_counter()
        assert pool.submit(double, pool.submit(make, SIZE).result()).result()[-1] == 2
        return time.perf_counter() - start


def measure_covalent() -> float:
    import covalent_core as ct

    @ct.lattice
    def workflow(size: int) -> Any:
        return ct.electron(double)(ct.electron(make)(size))

    ct.dispatch_sync(workflow)(1)
    start = time.perf_counter()
    assert ct.dispatch_sync(workflow)(SIZE).result[-1] == 2
    return time.perf_counter() - start


def peak_of_dispatcher(home: str) -> float:
    pid = json.loads(Path(home, "dispatcher.lock").read_text())["pid"]
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"COVALENT_CORE_HOME": home, "COVALENT_CORE_IDLE_SECONDS": "1"}
        ours = measure_covalent()
        peak = peak_of_dispatcher(home)
        pool = measure_pool()
        time.sleep(2)

    print(f"covalent-core      {ours:6.2f} s (peak memory of the dispatcher {peak:.0f} MiB)")
    print(f"bare process pool  {pool:6.2f} s, ratio {ours / pool:.1f}")


if __name__ == "__main__":
    main()
