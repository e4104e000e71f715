"""What quantum tasks cost: before they are asked for, and after their end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from covalent_core import Job
from covalent_core_braket._account import Account
from covalent_core_braket._tasks import Tasks
from covalent_core_braket._usages import Usages, simulator, tasks_on_qpu, unknown
from covalent_core_braket.costs import LEAST_SECONDS


class TaskCosts:
    """Says at its nodes what the quantum tasks of a job cost.

    Args:
        reservation: The ARN of the reservation that pays for them, if there is one.
    """

    def __init__(self, account: Account, tasks: Tasks, device: str, reservation: str | None) -> None:
        self._account = account
        self._tasks = tasks
        self._device = device
        self._reservation = reservation
        self._usages = Usages()
        self._milliseconds: dict[str, int] = {}

    async def expect(self, job: Job, shots: Sequence[int]) -> None:
        """Say what tasks will cost that are to be asked for, each with so many shots."""
        if self._reservation:
            cost = unknown(f"the reservation {self._reservation} is billed by the hour")
        elif self._is_qpu:
            cost = tasks_on_qpu(self._device, len(shots), sum(shots), billed=False)
        else:
            cost = simulator(await self._account.region(), self._device)

        self._usages.say(job, cost)

    def note_results(self, texts: Mapping[str, str]) -> None:
        """Take for how long a simulator ran from the results of tasks: it stands nowhere else."""
        for arn, text in texts.items():
            metadata = json.loads(text).get("additionalMetadata", {}).get("simulatorMetadata") or {}

            if (duration := metadata.get("executionDuration")) is not None:
                self._milliseconds[arn] = max(int(duration), LEAST_SECONDS * 1000)

    async def conclude(self, job: Job, arns: Sequence[str]) -> None:
        """Say what tasks that are over were billed; of those that this process has not looked at nothing is said."""
        if arns and not self._reservation and all(map(self._tasks.known, arns)):
            await (self._shots(job, arns) if self._is_qpu else self._time(job, arns))

        await self._usages.settle(job)

        for arn in arns:
            self._milliseconds.pop(arn, None)

    async def _shots(self, job: Job, arns: Sequence[str]) -> None:
        made = [self._made(arn) for arn in arns]
        counts = [count for count in made if count is not None]

        if len(counts) < len(made):
            self._usages.say(job, unknown("Braket does not say how many shots were made by a task without a result"))
        else:
            tasks = sum(count > 0 for count in counts)
            self._usages.say(job, tasks_on_qpu(self._device, tasks, sum(counts), billed=True))

    def _made(self, arn: str) -> int | None:
        record = self._tasks.known(arn)
        made = record.get("numSuccessfulShots", record["shots"] if record["status"] == "COMPLETED" else None)
        return None if made is None else int(made)

    async def _time(self, job: Job, arns: Sequence[str]) -> None:
        if all(arn in self._milliseconds for arn in arns):
            ran = sum(self._milliseconds[arn] for arn in arns)
            self._usages.say(job, simulator(await self._account.region(), self._device, ran))
        else:
            self._usages.say(job, unknown("nobody says for how long the simulator ran for a task without a result"))

    @property
    def _is_qpu(self) -> bool:
        return "/qpu/" in self._device
