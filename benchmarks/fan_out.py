"""What a node costs: 1,000 no-op electrons, every transition durable, beside a process pool and a SQLite loop."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

NODES = 1000


def nothing(x: int) -> int:
    return x


def measure_pool() -> float:
    with ProcessPoolExecutor() as pool:
        list(pool.map(nothing, range(4)))
        start = time.perf_counter()
        futures = [pool.submit(nothing, place) for place in range(NODES)]
        assert [future.result() for future in futures] == list(range(NODES))
        return time.perf_counter() - start


def measure_sqlite(folder: str) -> float:
    """One durable commit per node: the least that a system which commits each transition by itself pays."""
    connection = sqlite3.connect(os.path.join(folder, "raw.sqlite"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE changes (node INTEGER, status TEXT)")
    start = time.perf_counter()

    for place in range(NODES):
        connection.execute("INSERT INTO changes VALUES (?, 'COMPLETED')", (place,))

    return time.perf_counter() - start


def measure_covalent() -> tuple[float, float]:
    import covalent_core as ct

    electron = ct.electron(nothing)

    @ct.lattice
    def fan_out(count: int) -> list[int]:
        return [electron(place) for place in range(count)]

    ct.dispatch_sync(fan_out)(4)
    start = time.perf_counter()
    dispatch_id = ct.dispatch(fan_out)(NODES)
    accepted = time.perf_counter() - start
    result = ct.get_result(dispatch_id, wait=True)
    total = time.perf_counter() - start
    assert result.result == list(range(NODES)), result.error
    return accepted, total


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"COVALENT_CORE_HOME": folder, "COVALENT_CORE_IDLE_SECONDS": "1"}
        accepted, total = measure_covalent()
        pool, raw = measure_pool(), measure_sqlite(folder)
        time.sleep(2)

    print(f"covalent-core       {total / NODES * 1e3:6.3f} ms per node (accepted after {accepted * 1e3:.0f} ms)")
    print(f"bare process pool   {pool / NODES * 1e3:6.3f} ms per node, ratio {total / pool:.1f}")
    print(f"raw SQLite commits  {raw / NODES * 1e3:6.3f} ms per node, ratio {total / raw:.1f}")


if __name__ == "__main__":
    main()
