"""The quantum tasks of an account: asked for, found again, looked at, ended, and their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from anyio import create_task_group

from covalent_core.backend import Look, Over, Unknown, Watch
from covalent_core.errors import BackendUnreachableError, ExecutorError
from covalent_core_braket._account import Account
from covalent_core_braket._devices import Devices
from covalent_core_braket._jobs import cancel_task
from covalent_core_braket._program_sets import complete
from covalent_core_braket._states import TASKS, explain
from covalent_core_braket._storage import Folder
from covalent_core_braket.errors import BraketJobError

#: The tag that finds a quantum task again: they have no names.
TAG = "covalent-core"

#: Seconds after which an attempt to end quantum tasks gives up, so that the core makes the next.
ATTEMPT_SECONDS = 100.0


class Tasks:
    """What is known of quantum tasks; their states are those of GetQuantumTask alone.

    Args:
        poll_freq: The longest time, in seconds, between two looks at the same task.
    """

    def __init__(self, account: Account, poll_freq: float) -> None:
        self.devices = Devices(account)
        what = "Braket does not say how the quantum task is"
        self.watch: Watch[str] = Watch(self._look, ceiling=poll_freq, floor=0.5, what=what)
        self._account = account
        self._records: dict[str, dict[str, Any]] = {}

    async def create(self, name: str, body: dict[str, Any], tags: dict[str, str]) -> str:
        """Ask for a task and return its ARN; asked again with the same name and body, Braket makes no other."""
        request = {"clientToken": name, "tags": {**tags, TAG: name}, **body}
        arn: str = (await self._account.ask("braket", "CreateQuantumTask", **request))["quantumTaskArn"]
        return arn

    async def named(self, device: str, since: datetime) -> dict[str, str]:
        """Return the ARNs of those that have been asked for since then, by the names that they were given."""
        filters = [
            {"name": "deviceArn", "operator": "EQUAL", "values": [device]},
            {"name": "createdAt", "operator": "GTE", "values": [since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")]},
        ]
        found: dict[str, str] = {}
        page: dict[str, str] = {}

        while True:
            request = {"filters": filters, "maxResults": 100, **page}
            answer = await self._account.ask("braket", "SearchQuantumTasks", **request)
            tagged = [task for task in answer["quantumTasks"] if TAG in task.get("tags", {})]
            found |= {task["tags"][TAG]: task["quantumTaskArn"] for task in tagged}

            if not answer.get("nextToken"):
                return found

            page = {"nextToken": answer["nextToken"]}

    async def result(self, arn: str) -> str:
        """Return what Braket has written about a task that is through, whole."""
        record = await self._record(arn)
        folder = Folder(self._account, record["outputS3Bucket"], record["outputS3Directory"])

        try:
            return await complete((await folder.get("results.json")).decode(), folder)
        except FileNotFoundError as error:
            raise BackendUnreachableError(f"{arn} is through and {error} is not to be seen yet") from error

    def failure(self, arn: str, over: Over, *, in_part: bool) -> Exception:
        """Return what to raise for a task that is over and has no result.

        Args:
            in_part: Whether a part of it may be done.
        """
        record = self._records.get(arn, {})
        message, retry = explain(TASKS, arn, over.state, over.reason)

        if over.state == "FAILED" and in_part and record:
            place = f"s3://{record['outputS3Bucket']}/{record['outputS3Directory']}/results.json"
            message += f"; what came of a part of the program set stays in {place}"

        return BraketJobError(message, retry=retry)

    def known(self, arn: str) -> dict[str, Any]:
        """Return what Braket has said last of a task; nothing if this process has not asked."""
        return self._records.get(arn, {})

    def has_failed(self, arns: Sequence[str]) -> bool:
        """Return whether one of them is known to have failed."""
        return any(self._records.get(arn, {}).get("status") == "FAILED" for arn in arns)

    async def end(self, arns: Sequence[str], tell: Callable[[str], object]) -> None:
        """End tasks. When this returns, none of them runs or will.

        Args:
            tell: Is told what is waited for.

        Raises:
            ExecutorError: That is not known yet; call it again.
        """
        deadline = time.monotonic() + ATTEMPT_SECONDS
        running = [arn for arn in arns if await self._order_end(arn)]

        if running:
            tell(f"{_begun(running)} may bring to its end what it has begun")

        for arn in arns:
            if not await self.watch.is_over_within(arn, max(1.0, deadline - time.monotonic())):
                begun = f": {_begun([arn])} may bring it to its end" if arn in running else ""
                raise ExecutorError(f"quantum task {arn} is not over yet{begun}")

    def forget(self, arns: Sequence[str]) -> None:
        """Keep nothing of tasks that nobody asks for any more."""
        for arn in arns:
            self._records.pop(arn, None)

    async def _order_end(self, arn: str) -> bool:
        """Give the order to end a task, unless it is over; return whether its device had begun."""
        status = (await self._ask(arn))["status"]

        if not TASKS.meaning(status).over and status != "CANCELLING":
            await cancel_task(self._account, arn)
            self.watch.hurry(arn)

        return status in ("RUNNING", "CANCELLING")

    async def _record(self, arn: str) -> dict[str, Any]:
        known = self._records.get(arn, {})
        return known if known.get("status") == "COMPLETED" else await self._ask(arn)

    async def _ask(self, arn: str) -> dict[str, Any]:
        self._records[arn] = await self._account.ask("braket", "GetQuantumTask", quantumTaskArn=arn)
        return self._records[arn]

    # --- the poll ----------------------------------------------------------------------------------------------------

    async def _look(self, arns: Sequence[str]) -> Mapping[str, Look]:
        found: dict[str, Look] = {}
        errors: list[ExecutorError] = []

        async def look(arn: str) -> None:
            try:
                found[arn] = await self._look_of(arn, await self._ask(arn))
            except ExecutorError as error:
                found[arn] = Unknown(str(error))
                errors.append(error)

        async with create_task_group() as tasks:
            for arn in arns:
                tasks.start_soon(look, arn)

        if len(errors) == len(arns):
            raise errors[0]

        return found

    async def _look_of(self, arn: str, record: dict[str, Any]) -> Look:
        status = record["status"]
        waits = TASKS.meaning(status).waits
        return TASKS.look(arn, status, await self._waiting(record) if waits else record.get("failureReason", ""))

    async def _waiting(self, record: dict[str, Any]) -> str:
        """Say what a task waits for: its place in the queue, and the device, if that can be had."""
        position = record.get("queueInfo", {}).get("position", "None")
        words = [] if position == "None" else [f"place {position} in the queue"]

        with suppress(ExecutorError):
            words += filter(None, [await self.devices.waiting(record["deviceArn"])])

        return ", ".join(words)


def _begun(arns: Sequence[str]) -> str:
    return f"the device that runs {', '.join(arns)}"
