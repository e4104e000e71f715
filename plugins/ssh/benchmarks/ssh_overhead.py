"""What a task costs over SSH: 100 no-op electrons on one host, beside a bare asyncssh loop that runs ``true``.

Needs a real sshd on this machine; it is started with keys of its own and stopped at the end.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "tests"), str(HERE.parents[3] / "tests")]

from far_side import FarSide, options_for, running_far_side  # noqa: E402

TASKS = 100
ROUNDS = 5


def nothing(x: int) -> int:
    return x


async def bare_loop(options: dict[str, object], command: str) -> float:
    import asyncssh

    async with asyncssh.connect(
        str(options["hostname"]),
        int(str(options["port"])),
        username=str(options["username"]),
        client_keys=[options["ssh_key_file"]],
        known_hosts=str(options["known_hosts"]),
        config=None,
        agent_path=None,
    ) as connection:
        await connection.run("true")
        start = time.perf_counter()

        for _ in range(TASKS):
            await connection.run(command, check=True)

        return time.perf_counter() - start


def measure_tasks(options: dict[str, object]) -> float:
    import covalent_core as ct
    from covalent_core_ssh import SSHExecutor

    electron = ct.electron(nothing, executor=SSHExecutor(**options))

    @ct.lattice
    def fan_out(count: int) -> list[int]:
        return [electron(place) for place in range(count)]

    assert ct.dispatch_sync(fan_out)(4).result == [0, 1, 2, 3]
    start = time.perf_counter()
    result = ct.dispatch_sync(fan_out)(TASKS)
    assert result.result == list(range(TASKS)), result.error
    return time.perf_counter() - start


def report(name: str, seconds: list[float]) -> None:
    each = [1000 * value / TASKS for value in seconds]
    print(f"{name:<42} {statistics.median(each):6.1f} ms  ({min(each):.1f} - {max(each):.1f})")


def measure(far: FarSide, home: str) -> None:
    os.environ |= {"COVALENT_CORE_HOME": f"{home}/store", "COVALENT_CORE_IDLE_SECONDS": "1"}
    options = options_for(far, far.port)
    rows: dict[str, list[float]] = {"a task": [], "bare loop: true": [], "bare loop: python3 -c pass": []}

    for _ in range(ROUNDS):
        rows["a task"].append(measure_tasks(options))
        rows["bare loop: true"].append(asyncio.run(bare_loop(options, "true")))
        rows["bare loop: python3 -c pass"].append(asyncio.run(bare_loop(options, "python3 -c pass")))

    print(f"per task, median of {ROUNDS} rounds of {TASKS} tasks (least - most)")

    for name, seconds in rows.items():
        report(name, seconds)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, running_far_side(Path(folder)) as far:
        measure(far, folder)
