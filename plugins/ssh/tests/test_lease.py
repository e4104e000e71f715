"""A job with a lease ends itself when nobody can be heard, and goes on as long as somebody can."""

from __future__ import annotations

import pytest
from probes import alive, wait_until
from tasks import count, dispatch_one, run_one, runs_in

import covalent_core as ct
from covalent_core import Status
from covalent_core_ssh import SSHExecutor


@pytest.mark.long("waits until a lease is over")
@pytest.mark.parametrize("way", ["cut", "freeze"])
def test_a_job_ends_itself_while_the_line_is_gone(line, options, tmp_path, way) -> None:
    dispatch_id = dispatch_one(SSHExecutor(**options, lease=1), count, tmp_path, 60)
    wait_until(lambda: runs_in(tmp_path))
    (pid,) = runs_in(tmp_path)
    getattr(line, way)()

    try:
        wait_until(lambda: not alive(pid), seconds=5)
        assert ct.get_result(dispatch_id).status == Status.RUNNING
    finally:
        line.mend()

        if alive(pid):
            ct.cancel(dispatch_id)
            ct.get_result(dispatch_id, wait=True, timeout=60)

    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.FAILED
    assert "has not been heard for" in result.error


def test_a_job_goes_on_while_the_line_is_there(options, tmp_path) -> None:
    result = run_one(SSHExecutor(**options, lease=0.4), count, tmp_path, 1.5)

    assert result.status == Status.COMPLETED, result.error
