"""What a job says of itself to an executor."""

from __future__ import annotations

from covalent_core import Job


def test_a_job_says_why_it_was_cancelled() -> None:
    job = Job("d", "ct-0-0-0", 0, (), lattice="workflow")

    assert (job.lattice, job.cancel_reason, job.cancel_requested) == ("workflow", "", False)
    job._cancel_reason = "too expensive"
    assert job.cancel_reason == "too expensive"
