"""Circuits as quantum tasks: the function runs here, what it returns runs on a device, and the result is read by us."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from anyio import sleep

from covalent_core import Job, Perhaps, Results
from covalent_core.backend import OUTCOME, VALUE
from covalent_core.errors import ExecutorError, ExecutorOptionError, NotNow
from covalent_core_braket import _pickles
from covalent_core_braket._account import Account
from covalent_core_braket._checks import check_device
from covalent_core_braket._devices import takes_program_sets
from covalent_core_braket._preparation import Preparation
from covalent_core_braket._processes import Processes
from covalent_core_braket._refusals import QuotaReachedError
from covalent_core_braket._storage import Storage
from covalent_core_braket._task_costs import TaskCosts
from covalent_core_braket._tasks import Tasks
from covalent_core_braket.errors import BraketError, BraketJobError, BraketThrottledError

#: The job handle where a function has failed, and nothing was sent.
NOTHING = "no quantum task"

#: Seconds for which a request may be on its way that was made, and is in no list.
SETTLE_SECONDS = 15.0

#: How far the clock of this machine may be from that of AWS.
CLOCK_SKEW = timedelta(minutes=5)


@dataclass
class Order:
    """What each quantum task is asked for with."""

    device: str
    shots: int
    disable_qubit_rewiring: bool
    device_parameters: dict[str, Any]
    reservation_arn: str | None
    tags: dict[str, str]


class QuantumTasks:
    """Each job is one electron, and what that returns is a quantum task, or several if it is a list.

    Args:
        poll_freq: The longest time, in seconds, between two looks at the same task.
        keep: Whether what Braket has written to S3 stays.
    """

    def __init__(
        self,
        account: Account,
        storage: Storage,
        processes: Processes,
        order: Order,
        poll_freq: float,
        *,
        keep: bool,
    ) -> None:
        self._account = account
        self._tasks = Tasks(account, poll_freq)
        self._storage = storage
        self._processes = processes
        self._order = order
        self._keep = keep
        self._costs = TaskCosts(account, self._tasks, order.device, order.reservation_arn)

    def prepare(self, job: Job) -> None:
        if len(job.tasks) > 1:
            raise ExecutorOptionError(
                "circuits run as quantum tasks, which are not packed; leave out pack=, or give these electrons "
                "an executor with pack=1"
            )

        _pickles.wrap(job, "Prepared", {"folder": self._processes.files.location(job)})

    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        check_device("device", self._order.device, await self._account.region())
        await self._storage.check()
        device = await self._tasks.devices.check(self._order.device)
        options = self._options(job, program_sets=takes_program_sets(device))
        location = await Preparation(self._processes, job).make(payload, options)
        preparation = Preparation(self._processes, job, location)

        if preparation.has_programs:
            await self._costs.expect(job, [body["shots"] for body in preparation.bodies()["bodies"]])

        return location

    def _options(self, job: Job, *, program_sets: bool) -> dict[str, Any]:
        folder = self._storage.folder(self._storage.location(job))
        return {
            "device": self._order.device,
            "shots": self._order.shots,
            "bucket": folder.bucket,
            "key": folder.key,
            "program_sets": program_sets,
            "disable_qubit_rewiring": self._order.disable_qubit_rewiring,
            "device_parameters": self._order.device_parameters,
            "reservation_arn": self._order.reservation_arn,
        }

    async def provision(self, job: Job, location: str) -> str:
        preparation = Preparation(self._processes, job, location)
        preparation.note_asked()

        if not preparation.has_programs:
            return NOTHING

        return " ".join([await self._task(job, preparation, place) for place in range(preparation.count)])

    async def _task(self, job: Job, preparation: Preparation, place: int) -> str:
        """Return the ARN of one task, which is asked for unless it is known."""
        if (arn := preparation.arn(place)) is None:
            try:
                arn = await self._create(job, place, preparation.bodies()["bodies"][place])
            except (BraketError, BraketJobError, NotNow):
                # That was an answer: nothing is on its way, unless others are.
                if place == 0:
                    preparation.forget_asked()

                raise

            preparation.note_arn(place, arn)

        return arn

    async def _create(self, job: Job, place: int, body: dict[str, Any]) -> str:
        while True:
            try:
                return await self._tasks.create(_name(job, place), body, self._order.tags)
            except (BraketThrottledError, QuotaReachedError) as error:
                # Of a list some may be there already: those that follow wait here.
                if place == 0:
                    raise NotNow(str(error), 5.0) from error

            await sleep(1.0)

    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        preparation = Preparation(self._processes, job, location)

        if job.barred:
            preparation.bar()

        asked = preparation.seconds_since_asked(time.time())

        if asked is None:
            return None

        if not preparation.has_programs:
            return None if job.barred else NOTHING

        arns = await self._find_all(job, preparation, asked)

        if all(arns) or (job.barred and any(arns) and asked > SETTLE_SECONDS):
            return " ".join(filter(None, arns))

        if asked < SETTLE_SECONDS:
            return Perhaps("Braket was asked for the quantum task a moment ago and does not list it")

        return None

    async def _find_all(self, job: Job, preparation: Preparation, asked: float) -> list[str | None]:
        places = range(preparation.count)

        if not all(map(preparation.arn, places)):
            since = datetime.now(timezone.utc) - timedelta(seconds=asked) - CLOCK_SKEW
            named = await self._tasks.named(self._order.device, since)

            for place in places:
                if (arn := named.get(_name(job, place))) is not None:
                    preparation.note_arn(place, arn)

        return [preparation.arn(place) for place in places]

    async def run(self, job: Job, location: str, job_handle: str) -> None:
        arns = _arns(job_handle)

        for arn in arns:
            over = await self._tasks.watch.until_over(arn, tell=job.report_waiting)

            if over.state != "COMPLETED":
                # The others of a list are of no use any more, and cost money.
                await self._tasks.end(arns, job.report_waiting)
                in_part = Preparation(self._processes, job, location).is_set
                raise self._tasks.failure(arn, over, in_part=in_part)

    async def fetch(self, job: Job, location: str, job_handle: str) -> Results:
        preparation = Preparation(self._processes, job, location)

        if job_handle == NOTHING:
            return self._processes.files.fetch(location)

        texts = [await self._tasks.result(arn) for arn in _arns(job_handle)]
        self._costs.note_results(dict(zip(_arns(job_handle), texts, strict=True)))

        if preparation.bodies()["single"]:
            value = _pickles.call_of("result_of", texts[0])
        else:
            value = _pickles.call_of("results_of", json.dumps(texts))

        header = json.loads(preparation.outcome_file.read_bytes().partition(b"\n")[0])
        name = f"{job.ticket}.{job.node_ids[0]}"
        outcome = json.dumps({**header, "ended": time.time(), "file": True}).encode() + b"\n"
        return {f"{name}{VALUE}": value, f"{name}{OUTCOME}": outcome}

    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        await self._tasks.end(_arns(job_handle), job.report_waiting)
        return None

    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        raise ExecutorError("quantum tasks are not packed")

    async def release(self, job: Job, location: str | None) -> None:
        preparation = Preparation(self._processes, job, location)
        preparation.bar()
        arns = preparation.arns()
        await self._costs.conclude(job, arns)
        in_part = bool(arns) and preparation.is_set and self._tasks.has_failed(arns)

        if arns and not self._keep and not in_part:
            await self._storage.folder(self._storage.location(job)).remove()

        await preparation.remove()
        self._tasks.forget(arns)

    def close(self) -> None:
        self._tasks.watch.close()


def _name(job: Job, place: int) -> str:
    """Return the name of one of the tasks of a job: its token and its tag."""
    return f"{job.ticket}-{place}"


def _arns(handle: str) -> list[str]:
    return [] if handle == NOTHING else handle.split()
