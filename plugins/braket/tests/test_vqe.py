"""The example: a VQE that is cancelled in the middle and taken up again."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from probes import wait_until

import covalent_core as ct
from covalent_core import Status

EXAMPLE = Path(__file__).parents[1] / "examples" / "vqe.py"


@pytest.mark.long("each step imports Amazon's SDK")
def test_cancelled_in_the_middle_it_goes_on_where_it_was(home, tmp_path) -> None:
    example = runpy.run_path(str(EXAMPLE))
    example["simulator"].workdir = str(tmp_path / "work")
    dispatch_id = ct.dispatch(example["vqe"])(4, 2.5)

    def measured() -> set[int]:
        result = ct.get_result(dispatch_id)
        nodes = [result.get_node_result(number) for name, number in result.nodes() if name.startswith("measure")]
        return {node["node_id"] for node in nodes if node["status"] == Status.COMPLETED}

    wait_until(lambda: len(measured()) == 2, 90)
    ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True).status == Status.CANCELLED
    before = measured()
    result = ct.get_result(ct.redispatch(dispatch_id)(), wait=True)

    assert result.status == Status.COMPLETED, result.error
    assert 2 <= len(before) < 4
    # What had ended has no job in the second dispatch.
    assert [result.get_node_result(number)["job_handle"] for number in before] == [None] * len(before)
    assert result.result[-1][0] < result.result[0][0] < 0
