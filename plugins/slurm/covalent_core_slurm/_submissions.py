"""The orders to submit jobs: those that become ready together, and are alike, as one array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from covalent_core import Job
from covalent_core.backend import Together
from covalent_core.errors import NotNow
from covalent_core_slurm._answers import ARRAY
from covalent_core_slurm._sbatch import Sbatch
from covalent_core_slurm._script import Script
from covalent_core_slurm.errors import SlurmRefusedError

#: How many jobs an array has at most; Slurm's MaxArraySize is 1001 unless somebody has changed it.
LARGEST = 1000

#: Seconds that a job which is ready waits for the next of its dispatch that is being uploaded, and for all of them.
PATIENCE, LONGEST_WAIT = 1.0, 30.0

#: What Slurm says where one job may go in and so many may not.
_TOO_MANY = ("array specification", "Submit", "MaxJobs", "MaxArray")


@dataclass(frozen=True)
class Submission:
    """A job that is ready.

    Attributes:
        folder: Where the folders of all jobs are.
        workdir: Where its tasks run, seen from the folder of its files.
        order: How many orders to submit it are void.
    """

    ticket: str
    folder: str
    workdir: str
    order: int = 0


class Submissions:
    """Submit the jobs of an executor."""

    def __init__(self, sbatch: Sbatch, script: Script) -> None:
        self._sbatch = sbatch
        self._script = script
        self._ready: dict[str, Together[Submission, str]] = {}

    async def submit(self, job: Job, submission: Submission) -> str:
        """Submit a job, together with others of its dispatch that are ready, and return its number.

        Raises:
            SlurmUnreachableError: It was not submitted, and may be later.
            NotNow: Likewise, because there are too many jobs.
            SlurmRefusedError: Slurm said no, or the job must not start any more.
            SlurmError: It is not known whether the controller has the job.
        """
        ready = self._ready.setdefault(job.dispatch_id, self._together())

        try:
            return await ready.ask(submission, expected=lambda: job.siblings_coming > 0)
        finally:
            self._ready.pop(job.dispatch_id, None)

    def _together(self) -> Together[Submission, str]:
        return Together(self._submit, moment=0.02, patience=PATIENCE, longest=LONGEST_WAIT)

    async def _submit(self, submissions: list[Submission]) -> Mapping[Submission, str | Exception]:
        found: dict[Submission, str | Exception] = {}

        for begin in range(0, len(submissions), LARGEST):
            found |= await self._submit_once(submissions[begin : begin + LARGEST])

        return found

    async def _submit_once(self, submissions: list[Submission]) -> Mapping[Submission, str | Exception]:
        first, orders = submissions[0], [(submission.ticket, submission.order) for submission in submissions]
        name, output, script = self._written(submissions)
        options = self._script.fixed(name, first.folder, output)

        try:
            answers = await self._sbatch.submit(first.folder, name, orders, options, script)
        except (SlurmRefusedError, NotNow) as error:
            if len(orders) > 1 and any(words in str(error) for words in _TOO_MANY):
                half = len(submissions) // 2
                return {
                    **await self._submit_once(submissions[:half]),
                    **await self._submit_once(submissions[half:]),
                }

            return dict.fromkeys(submissions, error)
        except Exception as error:
            return dict.fromkeys(submissions, error)

        return {submission: answers[submission.ticket] for submission in submissions}

    def _written(self, submissions: list[Submission]) -> tuple[str, str, str]:
        """Return the name of a job or of an array, where its output goes, ``%a`` being its place, and its script."""
        first = submissions[0]

        if len(submissions) == 1:
            script = self._script.write(first.ticket, f"{first.folder}/{first.ticket}", first.workdir)
            return first.ticket, f"{first.ticket}/slurm.out", script

        name, members = first.ticket + ARRAY, [(submission.ticket, submission.workdir) for submission in submissions]
        return name, f"{name}/%a.out", self._script.write_array(name, first.folder, members)
