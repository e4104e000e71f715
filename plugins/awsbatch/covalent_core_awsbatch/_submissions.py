"""The orders to submit jobs: those that become ready together, and are alike, as one array."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from covalent_core import Job
from covalent_core.backend import Together
from covalent_core.errors import NotNow
from covalent_core_awsbatch._account import Account
from covalent_core_awsbatch._answers import is_throttled
from covalent_core_awsbatch._arrays import ARRAY
from covalent_core_awsbatch._definition import CONTAINER, Definition
from covalent_core_awsbatch._objects import OWNER, Folder, by_folder
from covalent_core_awsbatch._start import NAME, VARIABLE, StartObject
from covalent_core_awsbatch._tags import tags_of
from covalent_core_awsbatch.errors import BatchRefusedError, BatchUnreachableError

#: How many jobs an array has at most.
LARGEST = 10_000

#: Seconds that a job which is ready waits for the next of its dispatch that is being uploaded, and for all of them.
PATIENCE, LONGEST_WAIT = 1.0, 30.0

#: How many characters ECS takes of what is sent along with a job, its JSON included.
OVERRIDES = 8192

#: Seconds for which jobs are held back when AWS takes no more.
HELD_BACK = 5.0

#: How often a definition is registered anew that somebody has removed at that moment.
REGISTRATIONS = 5


@dataclass(frozen=True)
class Submission:
    """A job that is ready.

    Attributes:
        folder: Where its files are; its name is the ticket.
        order: How many orders to submit it are void.
    """

    folder: Folder
    order: int
    node_ids: tuple[int, ...]


@dataclass(frozen=True)
class Terms:
    """What is said of all jobs of an executor when they are submitted.

    Attributes:
        beat: Seconds between two signs of life of a job.
    """

    queue: str
    beat: float
    time_limit: float | None = None
    share_identifier: str | None = None
    scheduling_priority: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class Submissions:
    """Submit the jobs of an executor.

    Args:
        definition: Returns what is said of jobs with a grace period, or raises what is wrong with it.
    """

    def __init__(self, account: Account, terms: Terms, definition: Callable[[float], Awaitable[Definition]]) -> None:
        self._account = account
        self._definition = definition
        self._terms = terms
        self._ready: dict[tuple[str, float], Together[Submission, str]] = {}

    async def submit(self, job: Job, submission: Submission) -> str:
        """Submit a job, together with others of its dispatch that are ready, and return its id.

        Raises:
            NotNow: It was not submitted, because there is too much at once.
            BatchUnreachableError: It was not submitted, and may be later.
            BatchRefusedError: AWS said no, or the job must not start any more.
            BatchError: It is not known whether AWS has the job.
        """
        key = (job.dispatch_id, job.grace)
        ready = self._ready.setdefault(key, self._together(job))

        try:
            return await ready.ask(submission, expected=lambda: job.siblings_coming > 0)
        finally:
            self._ready.pop(key, None)

    def _together(self, job: Job) -> Together[Submission, str]:
        async def submit(submissions: list[Submission]) -> Mapping[Submission, str | Exception]:
            found: dict[Submission, str | Exception] = {}

            for begin in range(0, len(submissions), LARGEST):
                found |= await self._submit(submissions[begin : begin + LARGEST], job)

            return found

        return Together(submit, moment=0.02, patience=PATIENCE, longest=LONGEST_WAIT)

    async def _submit(self, submissions: list[Submission], job: Job) -> dict[Submission, str | Exception]:
        try:
            # Only now: who is asked about beforehand, one by one, does not become ready together.
            definition = await self._definition(job.grace)
            left = await self._without_released(submissions)
            gone = [submission for submission in submissions if submission not in left]
            found: dict[Submission, str | Exception] = {submission: _gone(submission) for submission in gone}
            return found | (await self._submit_once(left, job, definition) if left else {})
        except Exception as error:
            return dict.fromkeys(submissions, error)

    async def _without_released(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Return those whose files are there: an order that comes late must not bring anything back."""
        first = submissions[0].folder
        listed = by_folder(await self._account.objects.list(first.bucket, first.siblings), first.siblings)
        return [submission for submission in submissions if "bundle.pyz" in listed.get(submission.folder.name, {})]

    async def _submit_once(
        self, submissions: list[Submission], job: Job, definition: Definition
    ) -> dict[Submission, str | Exception]:
        # What is wrong with it is found out before there is anything that says that AWS may have been asked.
        await self._account.definitions.arn(definition)
        folder = self._folder(submissions)
        # The list of the jobs is there before AWS is asked: who looks for them afterwards finds them in it.
        variable = await self._write_start(folder, submissions, linked=definition.job_role is None)

        try:
            request = self._request(folder.name, submissions, job, variable)
            job_id = await self._ask(request, definition)
        except (BatchRefusedError, BatchUnreachableError) as error:
            # AWS has surely not taken it.
            await self._account.objects.delete(folder.bucket, [folder.key(NAME)])
            self._account.arrays.forget(folder)

            if is_throttled(error.__cause__ or error):
                raise NotNow(str(error), HELD_BACK) from error

            raise

        if len(submissions) == 1:
            return {submissions[0]: job_id}

        self._account.cancels.sizes[job_id] = len(submissions)
        return {submission: f"{job_id}:{place}" for place, submission in enumerate(submissions)}

    def _folder(self, submissions: Sequence[Submission]) -> Folder:
        """Return where the start object of a job or an array is; the folder's name is that of the job at AWS."""
        first = submissions[0].folder
        return first if len(submissions) == 1 else first.beside(f"{first.name}{ARRAY}{uuid.uuid4().hex[:8]}")

    async def _write_start(self, folder: Folder, submissions: Sequence[Submission], *, linked: bool) -> str:
        objects = self._account.objects
        records = await asyncio.gather(*(self._record(submission, linked=linked) for submission in submissions))
        start = StartObject(records)
        self._account.arrays.note(folder, [(submission.folder.name, submission.order) for submission in submissions])
        await objects.put(folder, NAME, start.content)
        url = (await self._account.links.to_start(folder, NAME))[0] if linked else objects.address(folder, NAME)
        region = "" if linked else self._account.service.region
        return start.order(url, region, time_limit=self._terms.time_limit, beat=self._terms.beat)

    async def _record(self, submission: Submission, *, linked: bool) -> Mapping[str, Any]:
        """Return what a job finds of its own in the start object."""
        folder, objects = submission.folder, self._account.objects
        record = {"ticket": folder.name, "owner": f"{OWNER}{submission.order}"}

        if not linked:
            return {**record, "base": objects.address(folder, "")}

        links = self._account.links
        await objects.put(folder, "links", await links.of_job(folder, [submission.order], submission.node_ids))
        url, seconds = await links.to_start(folder, "links")
        return {**record, "links": url, "renewal": seconds / 8}

    def _request(self, name: str, submissions: Sequence[Submission], job: Job, variable: str) -> dict[str, Any]:
        terms = self._terms
        container = {"name": CONTAINER, "environment": [{"name": VARIABLE, "value": variable}]}
        tags = tags_of(terms.tags, job, submissions[0].node_ids if len(submissions) == 1 else ())
        check_size({VARIABLE: variable})
        request = {
            "jobName": name if len(submissions) > 1 else job_name(name, submissions[0].order),
            "jobQueue": terms.queue,
            # Another attempt is the core's affair: it has another ticket.
            "retryStrategy": {"attempts": 1},
            "ecsPropertiesOverride": {"taskProperties": [{"containers": [container]}]},
            "propagateTags": True,
            "tags": tags,
        }
        request |= {"arrayProperties": {"size": len(submissions)}} if len(submissions) > 1 else {}
        request |= {"shareIdentifier": terms.share_identifier} if terms.share_identifier else {}

        if terms.scheduling_priority is not None:
            request["schedulingPriorityOverride"] = terms.scheduling_priority

        return request

    async def _ask(self, request: Mapping[str, Any], definition: Definition) -> str:
        service, definitions = self._account.service, self._account.definitions
        asked = f"SubmitJob {request['jobName']} to the queue {request['jobQueue']}"

        for attempt in range(REGISTRATIONS):
            arn = await definitions.arn(definition)

            try:
                answer = await service.call(service.once.submit_job, asked, changes=True, jobDefinition=arn, **request)
                return str(answer["jobId"])
            except BatchRefusedError as error:
                if not _is_about_definition(str(error)) or attempt == REGISTRATIONS - 1:
                    raise

                # Somebody has removed it at this moment.
                definitions.forget(arn)

        raise AssertionError("the last attempt has an end")


def job_name(ticket: str, order: int) -> str:
    """Return the name at AWS of a job that is in no array."""
    return f"{ticket}-order-{order}" if order else ticket


def check_size(variables: Mapping[str, str]) -> None:
    """Raise if ECS would not take what is sent along with a job: AWS Batch does, and the job fails then.

    Raises:
        BatchRefusedError: It is too much.
    """
    size = sum(len(name) + len(value) + 30 for name, value in variables.items())

    if size > OVERRIDES:
        largest = max(variables, key=lambda name: len(variables[name]))
        raise BatchRefusedError(
            f"what is sent along with a job has {size} characters, and ECS takes {OVERRIDES}; the largest part is "
            f"{largest} with {len(variables[largest])}: a presigned link is as long as the session token of the "
            f"credentials makes it, and batch_job_role_name does without"
        )


def _is_about_definition(words: str) -> bool:
    return "definition" in words.lower() and any(word in words.lower() for word in ("active", "exist", "found"))


def _gone(submission: Submission) -> BatchRefusedError:
    return BatchRefusedError(f"the files of job {submission.folder.name} are gone: nobody wants it any more")
