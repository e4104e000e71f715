"""Electrons as hybrid jobs of Braket: Amazon's container, our runner in it, and a folder in S3 between us and it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from covalent_core import Job, Perhaps, Results
from covalent_core.backend import ENDED, NOBODY, OUTCOME, Over
from covalent_core.errors import BackendUnreachableError, ExecutorError, NotNow
from covalent_core_braket._account import Account
from covalent_core_braket._archive import ENTRY_POINT, make_archive
from covalent_core_braket._checks import check_device, check_image
from covalent_core_braket._following import FIRST_PAUSE, Following, results
from covalent_core_braket._jobs import Jobs
from covalent_core_braket._refusals import NotThereError, QuotaReachedError
from covalent_core_braket._states import GONE, JOBS, TOO_LONG, explain
from covalent_core_braket._storage import Folder, Storage
from covalent_core_braket._usages import Usages, instance, unknown
from covalent_core_braket.errors import BraketError, BraketJobError, BraketThrottledError

#: Seconds that an order in S3 may take to be seen and followed, besides the grace period.
ORDER_SECONDS = 3.0

#: Seconds for which a request may be on its way that was made, and is in no list.
SETTLE_SECONDS = 15.0

#: Seconds after which Braket is asked again for a job that it has no room for.
QUOTA_SECONDS = 5.0

#: Seconds that Braket may take to bring a job to its end whose runner has ended.
END_SECONDS = 60.0


@dataclass
class Request:
    """What is asked of Braket for each job.

    Attributes:
        role: The name of the role, or its ARN.
        inputs: URIs in S3 by the names of their channels.
    """

    role: str
    image: str | None
    instance_type: str
    storage: int
    time_limit: int
    device: str
    hyperparameters: dict[str, str]
    inputs: dict[str, str]
    output_s3_uri: str | None
    checkpoint_s3_uri: str | None
    reservation_arn: str | None
    tags: dict[str, str]

    def body(self, job: Job, location: str, role_arn: str) -> dict[str, Any]:
        """Return the body of CreateJob; there is no clock in it, so that the same job has the same."""
        algorithm: dict[str, Any] = {
            "scriptModeConfig": {
                "entryPoint": ENTRY_POINT,
                "s3Uri": f"{location}/source.tar.gz",
                "compressionType": "GZIP",
            }
        }
        body: dict[str, Any] = {
            "clientToken": job.ticket,
            "jobName": job.ticket,
            "algorithmSpecification": algorithm,
            "roleArn": role_arn,
            "instanceConfig": {"instanceType": self.instance_type, "volumeSizeInGb": self.storage},
            "stoppingCondition": {"maxRuntimeInSeconds": self.time_limit},
            "deviceConfig": {"device": self.device},
            "hyperParameters": self.hyperparameters,
            "inputDataConfig": [_channel(name, uri) for name, uri in self.inputs.items()],
            "outputDataConfig": {"s3Path": self.output_s3_uri or f"{location}/output"},
            "checkpointConfig": {"s3Uri": self.checkpoint_s3_uri or f"{location}/checkpoints"},
            "tags": {**self.tags, "covalent-core": job.ticket},
        }

        if self.image:
            algorithm["containerImage"] = {"uri": self.image}

        if self.reservation_arn:
            body["associations"] = [{"arn": self.reservation_arn, "type": "RESERVATION_TIME_WINDOW_ARN"}]

        return body


def _channel(name: str, uri: str) -> dict[str, Any]:
    return {"channelName": name, "dataSource": {"s3DataSource": {"s3Uri": uri}}}


class HybridJobs:
    """Each job is a hybrid job.

    Args:
        poll_freq: The longest time, in seconds, between two looks at a job or its files.
        keep: Whether what is in S3 stays.
    """

    def __init__(self, account: Account, storage: Storage, request: Request, poll_freq: float, *, keep: bool) -> None:
        self._account = account
        self._storage = storage
        self._request = request
        self._jobs = Jobs(account, poll_freq)
        self._poll_freq = poll_freq
        self._keep = keep
        self._usages = Usages()
        self._role_arn = request.role if request.role.startswith("arn:") else ""

    def prepare(self, job: Job) -> None:
        pass

    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        region = await self._account.region()
        check_device("quantum_device", self._request.device, region)
        check_image(self._request.image, region)
        await self._storage.check()
        location = self._storage.location(job)
        folder = self._storage.folder(location)
        body = self._request.body(job, location, await self._role())
        archive = make_archive(job.ticket, region, self._request.time_limit)
        await folder.put("source.tar.gz", archive)
        await folder.upload("bundle.pyz", payload, job)
        await folder.put("request.json", json.dumps(body).encode())
        self._usages.say(job, instance(region, self._request.instance_type))
        return location

    async def provision(self, job: Job, location: str) -> str:
        folder = self._storage.folder(location)

        try:
            body = json.loads(await folder.get("request.json"))
        except FileNotFoundError as error:
            raise BraketError(f"{job.ticket} was released: its files are gone") from error

        if await folder.owner(job) == NOBODY:
            raise BraketError(f"{job.ticket} was released or cancelled: nothing may begin under this name")

        if (pause := self._account.wait_for("CreateJob")) > 1:
            raise NotNow("CreateJob may be called once a second", pause)

        await folder.put("asked", b"")

        try:
            return await self._jobs.create(body)
        except (BraketError, BraketJobError, BraketThrottledError) as error:
            # That was an answer: nothing is on its way.
            await folder.delete("asked")
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> Exception:
        """Return what a refused job is to the core: to be asked for later, or an error."""
        if isinstance(error, BraketThrottledError):
            return NotNow(str(error), 2.0)

        return _no_room(error, self._request.instance_type) if isinstance(error, QuotaReachedError) else error

    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        folder = self._storage.folder(location)
        owner = await folder.bar(job) if job.barred else await folder.owner(job)

        if owner and owner != NOBODY:
            return owner

        if (arn := await self._jobs.find(job.ticket)) is not None:
            return arn

        if await self._may_come(folder):
            return Perhaps("Braket was asked for the hybrid job a moment ago and does not list it")

        return None

    async def _may_come(self, folder: Folder) -> bool:
        """Return whether a request was made that may still be on its way."""
        try:
            answer = await self._account.ask("s3", "HeadObject", Bucket=folder.bucket, Key=f"{folder.key}/asked")
        except NotThereError:
            return False

        # By the clock of S3 alone.
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return bool((now - answer["LastModified"]).total_seconds() < SETTLE_SECONDS)

    async def run(self, job: Job, location: str, job_handle: str) -> None:
        files = Following(job, self._storage.folder(location), self._poll_freq)
        following = asyncio.ensure_future(files.until_ended())
        watching = asyncio.ensure_future(self._jobs.watch.until_over(job_handle, tell=job.report_waiting))

        try:
            await asyncio.wait([following, watching], return_when=asyncio.FIRST_COMPLETED)

            if following.done():
                following.result()
            else:
                await self._conclude(job, files, job_handle, watching.result())
        finally:
            following.cancel()
            watching.cancel()
            await asyncio.gather(following, watching, return_exceptions=True)

    async def _conclude(self, job: Job, files: Following, arn: str, over: Over) -> None:
        """Raise unless a job that is over has left how each of its nodes ended."""
        left = await files.look()

        if all(f".{node_id}{OUTCOME}" in left for node_id in job.node_ids):
            return

        state, reason = over.state, over.reason

        if state != GONE:
            details = await self._jobs.details(arn, state)
            reason = details.get("failureReason", "")
            state = TOO_LONG if TOO_LONG in [event["eventType"] for event in details.get("events", [])] else state

        message, retry = explain(JOBS, arn, state, reason)
        raise BraketJobError(message, retry=retry)

    async def fetch(self, job: Job, location: str, job_handle: str) -> Results:
        return await results(job, self._storage.folder(location), job.node_ids)

    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        folder = self._storage.folder(location)

        # A job that has not begun never will: it is given no time. One that is over may have been released.
        if not isinstance(await self._jobs.watch.look(job_handle, now=True), Over) and await folder.bar(job):
            await self._order(job, folder, job_handle)

        await self._jobs.end(job, job_handle)

        # Nothing is alive; what is not at hand is not waited for.
        with suppress(ExecutorError, OSError):
            return await results(job, folder, job.node_ids)

        return None

    async def _order(self, job: Job, folder: Folder, arn: str) -> None:
        """Tell the runner to end, and give it its time: Amazon sends no signal before the container is gone."""
        await folder.order_end(job)
        deadline = time.monotonic() + job.cancel_grace + ORDER_SECONDS

        while time.monotonic() < deadline and ENDED not in await folder.files(job):
            if await self._jobs.watch.is_over_within(arn, FIRST_PAUSE):
                return

    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        folder = self._storage.folder(location)
        await folder.order_members(node_ids)

        while True:
            files = await folder.files(job)

            if ENDED in files or all(f".{node_id}{OUTCOME}" in files for node_id in node_ids):
                break

            if await self._jobs.watch.is_over_within(job_handle, FIRST_PAUSE):
                break

        return await results(job, folder, node_ids)

    async def release(self, job: Job, location: str | None) -> None:
        folder = self._storage.folder(location or self._storage.location(job))

        if self._keep:
            await self._usages.settle(job)
            await folder.bar(job)
            return

        if location is None:
            await self._usages.settle(job)

            # What refuses to have files removed has taken none.
            with suppress(BraketError):
                await folder.remove()

            return

        # Until Braket has brought the job to its end it writes there.
        if job.job_handle and not await self._jobs.watch.is_over_within(job.job_handle, END_SECONDS):
            raise BackendUnreachableError(f"hybrid job {job.job_handle} is over and Braket has not said so yet")

        if job.job_handle:
            await self._say_billed(job, job.job_handle)

        await self._usages.settle(job)
        await folder.remove()

        if job.job_handle:
            self._jobs.forget(job.job_handle)

    async def _say_billed(self, job: Job, arn: str) -> None:
        """Say for how long the instance was billed. What Braket does not say is not waited for."""
        over = await self._jobs.watch.look(arn)

        try:
            details = await self._jobs.details(arn, over.state if isinstance(over, Over) else "")
        except ExecutorError as error:
            self._usages.say(job, unknown(f"Braket does not say for how long the hybrid job ran: {error}"))
            return

        milliseconds = details.get("billableDuration")

        if milliseconds is None:
            self._usages.say(job, unknown(f"hybrid job {arn} is {details['status']} and has no billed time"))
        else:
            region = await self._account.region()
            self._usages.say(job, instance(region, self._request.instance_type, milliseconds))

    def close(self) -> None:
        self._jobs.watch.close()

    async def _role(self) -> str:
        if not self._role_arn:
            answer = await self._account.ask("iam", "GetRole", RoleName=self._request.role)
            self._role_arn = answer["Role"]["Arn"]

        return self._role_arn


def _no_room(error: QuotaReachedError, instance_type: str) -> Exception:
    """Return what a refusal for the sake of a quota means: later, or never."""
    if re.search(r"\b(is|of|:)\s*0\b", str(error)):
        return BraketJobError(
            f"{error}; the account may have no {instance_type}: ask for more in the console of Service Quotas, "
            f"or name another type with classical_device=",
            retry=False,
        )

    return NotNow(str(error), QUOTA_SECONDS)
