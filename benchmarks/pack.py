"""What a node costs in a pack: no-op nodes in one job of the local executor, beside one job each."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time

os.environ["COVALENT_CORE_HOME"] = tempfile.mkdtemp()

import covalent_core as ct
from covalent_core import Status

NODES = 1000
ROUNDS = 5


@ct.electron
def nothing(place: int) -> int:
    return place


@ct.lattice
def each_its_job(count: int) -> None:
    for place in range(count):
        nothing(place)


@ct.lattice(pack=NODES)
def one_pack(count: int) -> None:
    for place in range(count):
        nothing(place)


def seconds_of(workflow: ct.Lattice, count: int) -> tuple[float, float]:
    """Return the seconds between the first started and the last ended node, and those from accepted to done."""
    start = time.perf_counter()
    result = ct.dispatch_sync(workflow)(count)
    whole = time.perf_counter() - start
    assert result.status == Status.COMPLETED, result.error

    rows = [result.get_node_result(node_id) for name, node_id in result.nodes() if name.startswith("nothing")]
    assert len(rows) == count
    assert len({row["job_handle"] for row in rows}) == 1 or workflow is each_its_job
    began, ended = min(row["start_time"] for row in rows), max(row["end_time"] for row in rows)
    return (ended - began).total_seconds(), whole


def main(count: int = NODES) -> None:
    seconds_of(one_pack, 1)

    for workflow in (one_pack, each_its_job):
        nodes, whole = zip(*(seconds_of(workflow, count) for _ in range(ROUNDS)), strict=True)
        print(
            f"{workflow.name:13} {count} nodes: first started to last ended "
            f"median {statistics.median(nodes) / count * 1e3:.3f} ms a node, worst {max(nodes) / count * 1e3:.3f}; "
            f"accepted to done median {statistics.median(whole):.3f} s, worst {max(whole):.3f} s"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
