"""The hybrid jobs of an account: looked at with one poll, ended with all that they have started."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from anyio import sleep

from covalent_core import Job
from covalent_core.backend import Look, Over, Unknown, Watch
from covalent_core.errors import ExecutorError
from covalent_core_braket._account import Account
from covalent_core_braket._refusals import ConflictError, NotThereError
from covalent_core_braket._states import GONE, JOBS, OPEN
from covalent_core_braket.errors import BraketThrottledError, BraketUnreachableError

#: How the names of our jobs begin, which are tickets.
OURS = "ct-"

#: How far the clock of this machine may be from that of AWS.
CLOCK_SKEW = timedelta(minutes=5)

#: Seconds between two looks at the quantum tasks of a job that is to end.
TASK_SECONDS = 1.0

#: Seconds after which a job is over that Braket does not know by its ARN.
GONE_SECONDS = 600.0

#: Seconds for which Braket may say nothing about a job before an attempt to end it gives up.
UNKNOWN_SECONDS = 10.0

#: Seconds after which an attempt to end a job gives up, so that the core makes the next.
ATTEMPT_SECONDS = 100.0


class Jobs:
    """What is known of hybrid jobs.

    Args:
        poll_freq: The longest time, in seconds, between two looks at the same job.
    """

    def __init__(self, account: Account, poll_freq: float) -> None:
        self._account = account
        self._created: dict[str, datetime] = {}
        self._missing: dict[str, float] = {}
        self._details: dict[tuple[str, str], dict[str, Any]] = {}
        what = "Braket does not say how the hybrid job is"
        self.watch: Watch[str] = Watch(self._look, ceiling=poll_freq, what=what)

    async def create(self, body: dict[str, Any]) -> str:
        """Ask for a job and return its ARN; to ask again with the same body makes no other."""
        asked = datetime.now(timezone.utc)
        arn: str = (await self._account.ask("braket", "CreateJob", **body))["jobArn"]
        self._created[arn] = asked - CLOCK_SKEW
        self.watch.hurry(arn)
        return arn

    async def find(self, name: str) -> str | None:
        """Return the ARN of the job that bears a name, None if the lists have none."""
        async for job in self._search({"name": "jobName", "operator": "EQUAL", "values": [name]}):
            found: str = job["jobArn"]
            return found

        return None

    async def details(self, arn: str, status: str) -> dict[str, Any]:
        """Return all that Braket says about a job, asked for once in each of its states."""
        if (arn, status) not in self._details:
            answer = await self._account.ask("braket", "GetJob", jobArn=arn)
            self._details[arn, answer["status"]] = answer
            return answer

        return self._details[arn, status]

    def forget(self, arn: str) -> None:
        """Keep nothing of a job that nobody asks for any more."""
        self._created.pop(arn, None)
        self._missing.pop(arn, None)
        self._details = {key: answer for key, answer in self._details.items() if key[0] != arn}

    async def end(self, job: Job, arn: str) -> None:
        """End a job and its quantum tasks. When this returns, nothing of either runs or will.

        Raises:
            ExecutorError: That is not known yet; call it again.
        """
        over = await self._is_over(arn)

        if not over:
            await self._order_end(arn)

        deadline, open_tasks = time.monotonic() + ATTEMPT_SECONDS, list[str]()

        while time.monotonic() < deadline:
            # What a job has started before it was over is in a list that is asked for afterwards.
            open_tasks, made_any = await self._end_tasks(arn)

            if over and not open_tasks:
                return await self._look_twice(arn) if made_any else None

            job.report_waiting(_waiting(arn, over, open_tasks))
            await sleep(TASK_SECONDS if open_tasks else 0)
            over = over or await self._is_over(arn)

        raise ExecutorError(_waiting(arn, over, open_tasks))

    async def _is_over(self, arn: str) -> bool:
        """Return whether a job is over, as soon as that is known.

        Raises:
            BraketUnreachableError: Braket has said nothing about it for a while.
        """
        deadline = time.monotonic() + UNKNOWN_SECONDS

        while isinstance(look := await self.watch.look(arn, now=True), Unknown):
            if time.monotonic() > deadline:
                raise BraketUnreachableError(look.why)

        return isinstance(look, Over)

    async def _look_twice(self, arn: str) -> None:
        """Look again for quantum tasks of a job that made some: a list may be a moment old."""
        await sleep(TASK_SECONDS)
        left, _ = await self._end_tasks(arn)

        if left:
            raise ExecutorError(_waiting(arn, True, left))

    async def _order_end(self, arn: str) -> None:
        # One that is over, on the way, or unknown: the next look says which.
        with suppress(ConflictError, NotThereError):
            await self._account.ask("braket", "CancelJob", jobArn=arn)

        self.watch.hurry(arn)

    async def _end_tasks(self, arn: str) -> tuple[list[str], bool]:
        """Cancel the quantum tasks of a job; return the states of those that are open, and whether there are any."""
        left, made_any = [], False
        wanted = {"name": "jobArn", "operator": "EQUAL", "values": [arn]}

        async for task in self._search(wanted, "quantumTasks"):
            made_any = True

            if task["status"] not in OPEN:
                continue

            left.append(task["status"])

            if task["status"] != "CANCELLING":
                await cancel_task(self._account, task["quantumTaskArn"])

        return left, made_any

    # --- the poll ----------------------------------------------------------------------------------------------------

    async def _look(self, arns: Sequence[str]) -> Mapping[str, Look]:
        found = {}

        for arn in arns:
            if arn not in self._created:
                # Of a job that another process has asked for nobody here knows when; it is looked for by its ARN.
                found.update(await self._records({"name": "jobArn", "operator": "EQUAL", "values": [arn]}, {arn}))

        left = set(arns) - set(found)

        if left and (created := [self._created[arn] for arn in left if arn in self._created]):
            since = (min(created)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            found.update(await self._records({"name": "createdAt", "operator": "GTE", "values": [since]}, left))

        looks = {arn: await self._look_of(record) for arn, record in found.items()}
        return {**looks, **{arn: await self._look_at(arn) for arn in arns if arn not in found}}

    async def _look_at(self, arn: str) -> Look:
        """Return what Braket says of a job that no list has, asked for it alone."""
        try:
            record = await self._account.ask("braket", "GetJob", jobArn=arn)
        except NotThereError as error:
            since = self._missing.setdefault(arn, time.monotonic())
            # One that is new may not be known everywhere.
            gone = time.monotonic() > since + GONE_SECONDS
            return Over(GONE) if gone else Unknown(str(error))

        self._missing.pop(arn, None)
        return await self._look_of(record)

    async def _records(self, wanted: dict[str, Any], arns: set[str]) -> dict[str, dict[str, Any]]:
        found = {}

        async for record in self._search(wanted):
            if record["jobArn"] in arns:
                found[record["jobArn"]] = record
                self._created[record["jobArn"]] = record["createdAt"]

            if len(found) == len(arns):
                break

        return found

    async def _look_of(self, record: dict[str, Any]) -> Look:
        arn, status = record["jobArn"], record["status"]
        reason = ""

        if JOBS.meaning(status).waits:
            reason = await self._queue(arn, status)

        look = JOBS.look(arn, status, reason)
        return Over(status) if isinstance(look, Over) else look

    async def _queue(self, arn: str, status: str) -> str:
        """Say where in the queue a job is, if that can be had for nothing."""
        try:
            answer = await self.details(arn, status)
        except ExecutorError:
            return ""

        position = answer.get("queueInfo", {}).get("position", "None")
        return "" if position == "None" else f"place {position} in the queue when it was asked for"

    async def _search(self, wanted: dict[str, Any], what: str = "jobs") -> AsyncIterator[dict[str, Any]]:
        operation = {"jobs": "SearchJobs", "quantumTasks": "SearchQuantumTasks"}[what]
        page: dict[str, str] = {}

        while True:
            answer = await self._account.ask("braket", operation, filters=[wanted], maxResults=100, **page)

            for record in answer[what]:
                yield record

            if not answer.get("nextToken"):
                return

            page = {"nextToken": answer["nextToken"]}


async def cancel_task(account: Account, arn: str) -> None:
    """Give the order to end a quantum task; it may be over, or more orders were given than may be."""
    # What is refused now is looked at again, and ordered again if need be.
    with suppress(ConflictError, BraketThrottledError):
        await account.ask("braket", "CancelQuantumTask", quantumTaskArn=arn, clientToken=_token(arn))


def _token(arn: str) -> str:
    return arn.rpartition("/")[2][:64]


def _waiting(arn: str, over: bool, left: list[str]) -> str:
    if not over:
        return f"hybrid job {arn} is not over yet"

    running = (
        f", {left.count('RUNNING')} of them on a device that may bring them to their end" if "RUNNING" in left else ""
    )
    return f"hybrid job {arn} is over and {len(left)} of its quantum tasks are not{running}"
