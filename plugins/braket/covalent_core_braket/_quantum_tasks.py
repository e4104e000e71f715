"""Circuits as quantum tasks: the function runs here, what it returns runs on a device, and the result is read by us."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from anyio import create_task_group, sleep

from covalent_core import Job, Perhaps, Results
from covalent_core.backend import OUTCOME, VALUE, Look, Over, Watch
from covalent_core.errors import BackendUnreachableError, ExecutorError, ExecutorOptionError, NotNow
from covalent_core_braket import _pickles
from covalent_core_braket._account import Account
from covalent_core_braket._checks import check_device
from covalent_core_braket._devices import Devices, takes_program_sets
from covalent_core_braket._jobs import cancel_task
from covalent_core_braket._preparation import Preparation
from covalent_core_braket._processes import Processes
from covalent_core_braket._program_sets import complete
from covalent_core_braket._refusals import QuotaReachedError
from covalent_core_braket._states import TASKS, explain
from covalent_core_braket._storage import Folder, Storage
from covalent_core_braket.errors import BraketError, BraketJobError, BraketThrottledError

#: The tag that finds a quantum task again: they have no names.
TAG = "covalent-core"

#: The job handle where a function has failed, and nothing was sent.
NOTHING = "no quantum task"

#: Seconds for which a request may be on its way that was made, and is in no list.
SETTLE_SECONDS = 15.0

#: How far the clock of this machine may be from that of AWS.
CLOCK_SKEW = timedelta(minutes=5)

#: Seconds after which an attempt to end quantum tasks gives up, so that the core makes the next.
ATTEMPT_SECONDS = 100.0


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
        self._storage = storage
        self._processes = processes
        self._order = order
        self._devices = Devices(account)
        self._keep = keep
        what = "Braket does not say how the quantum task is"
        self._watch: Watch[str] = Watch(self._look, ceiling=poll_freq, floor=0.5, what=what)
        self._records: dict[str, dict[str, Any]] = {}

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
        device = await self._devices.check(self._order.device)
        options = self._options(job, program_sets=takes_program_sets(device))
        return await Preparation(self._processes, job).make(payload, options)

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

        if not preparation.has_completed:
            return NOTHING

        return " ".join([await self._task(job, preparation, place) for place in range(preparation.count)])

    async def _task(self, job: Job, preparation: Preparation, place: int) -> str:
        """Return the ARN of one task, which is asked for unless it is known."""
        if (arn := preparation.arn(place)) is None:
            try:
                arn = await self._create(job, place, preparation.bodies()["bodies"][place], first=place == 0)
            except (BraketError, BraketJobError, NotNow):
                # That was an answer: nothing is on its way, unless others are.
                if place == 0:
                    preparation.forget_asked()

                raise

            preparation.note_arn(place, arn)

        return arn

    async def _create(self, job: Job, place: int, body: dict[str, Any], *, first: bool) -> str:
        name = f"{job.ticket}-{place}"
        tags = {**self._order.tags, TAG: name}

        while True:
            try:
                # Asked again with the same token and the same body, Braket makes no other.
                answer = await self._account.ask("braket", "CreateQuantumTask", clientToken=name, tags=tags, **body)
            except (BraketThrottledError, QuotaReachedError) as error:
                if first:
                    raise NotNow(str(error), 5.0) from error

                await sleep(1.0)
            else:
                arn: str = answer["quantumTaskArn"]
                return arn

    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        preparation = Preparation(self._processes, job, location)

        if job.barred:
            preparation.bar()

        asked = preparation.seconds_since_asked(time.time())

        if asked is None:
            return None

        if not preparation.has_completed:
            return None if job.barred else NOTHING

        arns = await self._find_all(job, preparation, asked)

        if all(arns) or (job.barred and any(arns) and asked > SETTLE_SECONDS):
            return " ".join(filter(None, arns))

        if asked < SETTLE_SECONDS:
            return Perhaps("Braket was asked for the quantum task a moment ago and does not list it")

        return None

    async def _find_all(self, job: Job, preparation: Preparation, asked: float) -> list[str | None]:
        count = preparation.count
        known = [preparation.arn(place) for place in range(count)]

        if all(known):
            return known

        since = datetime.now(timezone.utc) - timedelta(seconds=asked) - CLOCK_SKEW
        tagged = await self._tagged(since)

        for place in range(count):
            if known[place] is None and (arn := tagged.get(f"{job.ticket}-{place}")) is not None:
                preparation.note_arn(place, arn)
                known[place] = arn

        return known

    async def _tagged(self, since: datetime) -> dict[str, str]:
        """Return the quantum tasks that bear our tag, by what it says."""
        filters = [
            {"name": "deviceArn", "operator": "EQUAL", "values": [self._order.device]},
            {"name": "createdAt", "operator": "GTE", "values": [since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")]},
        ]
        found: dict[str, str] = {}
        page: dict[str, str] = {}

        while True:
            request = {"filters": filters, "maxResults": 100, **page}
            answer = await self._account.ask("braket", "SearchQuantumTasks", **request)
            found |= {
                task["tags"][TAG]: task["quantumTaskArn"]
                for task in answer["quantumTasks"]
                if TAG in task.get("tags", {})
            }

            if not answer.get("nextToken"):
                return found

            page = {"nextToken": answer["nextToken"]}

    # --- while it runs -----------------------------------------------------------------------------------------------

    async def run(self, job: Job, location: str, job_handle: str) -> None:
        for arn in _arns(job_handle):
            over = await self._watch.until_over(arn, tell=job.report_waiting)

            if over.state != "COMPLETED":
                raise self._failure(arn, over, in_part=Preparation(self._processes, job, location).is_set)

    def _failure(self, arn: str, over: Over, *, in_part: bool) -> Exception:
        record = self._records.get(arn, {})
        message, retry = explain(TASKS, arn, over.state, over.reason)

        if over.state == "FAILED" and in_part:
            place = f"s3://{record['outputS3Bucket']}/{record['outputS3Directory']}/results.json"
            message += f"; what came of a part of the program set stays in {place}"

        return BraketJobError(message, retry=retry)

    async def _look(self, arns: Sequence[str]) -> Mapping[str, Look]:
        found: dict[str, Look] = {}

        async def look(arn: str) -> None:
            record = await self._account.ask("braket", "GetQuantumTask", quantumTaskArn=arn)
            self._records[arn] = record
            found[arn] = await self._look_of(arn, record)

        try:
            async with create_task_group() as tasks:
                for arn in arns:
                    tasks.start_soon(look, arn)
        except BaseException as error:
            # What the others have said is known.
            raise _first(error) from error

        return found

    async def _look_of(self, arn: str, record: dict[str, Any]) -> Look:
        status = record["status"]

        if TASKS.meaning(status).waits:
            return TASKS.look(arn, status, await self._waiting(record))

        return TASKS.look(arn, status, record.get("failureReason", ""))

    async def _waiting(self, record: dict[str, Any]) -> str:
        """Say what a task waits for: its place in the queue, and the device, if that can be had."""
        position = record.get("queueInfo", {}).get("position", "None")
        words = [] if position == "None" else [f"place {position} in the queue"]

        with suppress(ExecutorError):
            words += filter(None, [await self._devices.waiting(record["deviceArn"])])

        return ", ".join(words)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def fetch(self, job: Job, location: str, job_handle: str) -> Results:
        preparation = Preparation(self._processes, job, location)

        if job_handle == NOTHING:
            return self._processes.files.fetch(location)

        texts = [await self._result(arn) for arn in _arns(job_handle)]

        if preparation.bodies()["single"]:
            value = _pickles.call_of("result_of", texts[0])
        else:
            value = _pickles.call_of("results_of", json.dumps(texts))

        header = json.loads(preparation.outcome_file.read_bytes().partition(b"\n")[0])
        name = f"{job.ticket}.{job.node_ids[0]}"
        outcome = json.dumps({**header, "ended": time.time(), "file": True}).encode() + b"\n"
        return {f"{name}{VALUE}": value, f"{name}{OUTCOME}": outcome}

    async def _result(self, arn: str) -> str:
        record = await self._record(arn)
        folder = Folder(self._account, record["outputS3Bucket"], record["outputS3Directory"])

        try:
            return await complete((await folder.get("results.json")).decode(), folder)
        except FileNotFoundError as error:
            raise BackendUnreachableError(f"{arn} is through and {error} is not to be seen yet") from error

    async def _record(self, arn: str) -> dict[str, Any]:
        if self._records.get(arn, {}).get("status") != "COMPLETED":
            self._records[arn] = await self._account.ask("braket", "GetQuantumTask", quantumTaskArn=arn)

        return self._records[arn]

    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        arns = _arns(job_handle)
        deadline = time.monotonic() + ATTEMPT_SECONDS

        for arn in arns:
            await self._order_end(arn)

        for arn in arns:
            if not await self._watch.is_over_within(arn, max(1.0, deadline - time.monotonic())):
                record = self._records.get(arn, {})
                runs = ": the device runs it and may bring it to its end" if record.get("status") == "RUNNING" else ""
                raise ExecutorError(f"quantum task {arn} is not over yet{runs}")

        return None

    async def _order_end(self, arn: str) -> None:
        record = await self._account.ask("braket", "GetQuantumTask", quantumTaskArn=arn)
        self._records[arn] = record

        if TASKS.meaning(record["status"]).over or record["status"] == "CANCELLING":
            return

        await cancel_task(self._account, arn)
        self._watch.hurry(arn)

    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        raise ExecutorError("quantum tasks are not packed")

    async def release(self, job: Job, location: str | None) -> None:
        preparation = Preparation(self._processes, job, location)
        preparation.bar()
        arns = preparation.arns()
        in_part = bool(arns) and preparation.is_set and self._has_failed(arns)

        if arns and not self._keep and not in_part:
            await self._storage.folder(self._storage.location(job)).remove()

        await preparation.remove()

        for arn in arns:
            self._records.pop(arn, None)

    def _has_failed(self, arns: list[str]) -> bool:
        return any(self._records.get(arn, {}).get("status") == "FAILED" for arn in arns)

    def close(self) -> None:
        self._watch.close()


def _arns(handle: str | None) -> list[str]:
    return [] if handle in (None, NOTHING) else str(handle).split()


def _first(error: BaseException) -> BaseException:
    return error.exceptions[0] if hasattr(error, "exceptions") else error
