"""The orders to submit jobs: those that become ready together, and are alike, as one array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from covalent_core.backend import Together
from covalent_core_slurm._answers import ARRAY
from covalent_core_slurm._commands import Commands
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
    """

    ticket: str
    folder: str
    workdir: str


class Submissions:
    """Submit the jobs of an executor."""

    def __init__(self, commands: Commands, script: Script) -> None:
        self._commands = commands
        self._script = script
        self._coming: dict[str, set[str]] = {}
        self._ready: dict[str, Together[Submission, str]] = {}

    def expect(self, dispatch_id: str, ticket: str) -> None:
        """Know of a job that will be submitted soon, and that others may wait for."""
        self._coming.setdefault(dispatch_id, set()).add(ticket)

    def forget(self, dispatch_id: str, ticket: str) -> None:
        """Wait no more for a job."""
        coming = self._coming.get(dispatch_id, set())
        coming.discard(ticket)

        if not coming:
            self._coming.pop(dispatch_id, None)
            self._ready.pop(dispatch_id, None)

    async def submit(self, dispatch_id: str, submission: Submission) -> str:
        """Submit a job, together with others of its dispatch that are ready, and return its number.

        Raises:
            SlurmUnreachableError: The controller has not answered; it may have the job all the same.
            SlurmRefusedError: It said no, or the job must not start any more.
        """
        ready = self._ready.get(dispatch_id) or self._together()
        self._ready[dispatch_id] = ready
        self.forget(dispatch_id, submission.ticket)
        return await ready.ask(submission, expected=lambda: dispatch_id in self._coming)

    def _together(self) -> Together[Submission, str]:
        return Together(self._submit, moment=0.02, patience=PATIENCE, longest=LONGEST_WAIT)

    async def _submit(self, submissions: list[Submission]) -> Mapping[Submission, str | Exception]:
        found: dict[Submission, str | Exception] = {}

        for begin in range(0, len(submissions), LARGEST):
            found |= await self._submit_once(submissions[begin : begin + LARGEST])

        return found

    async def _submit_once(self, submissions: list[Submission]) -> Mapping[Submission, str | Exception]:
        first, tickets = submissions[0], [submission.ticket for submission in submissions]
        name = first.ticket if len(tickets) == 1 else first.ticket + ARRAY

        try:
            answers = await self._commands.submit(first.folder, name, tickets, self._written(name, submissions))
        except SlurmRefusedError as error:
            if len(tickets) > 1 and any(words in str(error) for words in _TOO_MANY):
                half = len(submissions) // 2
                return {
                    **await self._submit_once(submissions[:half]),
                    **await self._submit_once(submissions[half:]),
                }

            return dict.fromkeys(submissions, error)
        except Exception as error:
            return dict.fromkeys(submissions, error)

        return {submission: answers[submission.ticket] for submission in submissions}

    def _written(self, name: str, submissions: list[Submission]) -> str:
        first = submissions[0]

        if len(submissions) == 1:
            return self._script.write(first.ticket, f"{first.folder}/{first.ticket}", first.workdir)

        members = [(submission.ticket, submission.workdir) for submission in submissions]
        return self._script.write_array(name, first.folder, members)
