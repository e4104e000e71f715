"""The service: its operations by name, and the jobs that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aws.credentials import Credentials
from aws.knobs import Knobs
from aws.moto_services import MotoServices

from . import ending
from .container import Running
from .definitions import Definitions
from .describing import describe, summarize
from .ends import ENDS, Plan
from .errors import ApiError, require
from .images import Images
from .jobs import ENDED, Job
from .lifecycle import live
from .listing import is_known, list_jobs
from .logs import LogStreams
from .queues import ComputeEnvironment, Queues
from .submission import new_job

MOST_DESCRIBED = 100


class Batch:
    """AWS Batch in one region. All of it happens in one thread, that of the event loop."""

    def __init__(
        self,
        folder: Path,
        knobs: Knobs,
        credentials: Credentials,
        moto: MotoServices,
        account: str,
        region: str,
        url: str,
    ) -> None:
        self.folder = folder
        self.knobs = knobs
        self.credentials = credentials
        self.moto = moto
        self.region = region
        self.jobs: dict[str, Job] = {}
        self.plans: list[Plan] = []
        self.images = Images(folder / "images")
        self.logs = LogStreams(moto, knobs, region, self.start)
        self._url = url
        self._arn_prefix = f"arn:aws:batch:{region}:{account}"
        self.queues = Queues(self._arn_prefix)
        self.definitions = Definitions(self._arn_prefix)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._described = 0
        queues, definitions = self.queues, self.definitions
        self.operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "CreateComputeEnvironment": queues.create_compute_environment,
            "UpdateComputeEnvironment": queues.update_compute_environment,
            "DeleteComputeEnvironment": queues.delete_compute_environment,
            "DescribeComputeEnvironments": queues.describe_compute_environments,
            "CreateJobQueue": queues.create_job_queue,
            "UpdateJobQueue": queues.update_job_queue,
            "DeleteJobQueue": queues.delete_job_queue,
            "DescribeJobQueues": queues.describe_job_queues,
            "CreateSchedulingPolicy": queues.create_scheduling_policy,
            "RegisterJobDefinition": definitions.register,
            "DeregisterJobDefinition": definitions.deregister,
            "DescribeJobDefinitions": definitions.describe,
            "SubmitJob": self._submit,
            "DescribeJobs": self._describe,
            "ListJobs": self._list,
            "CancelJob": lambda request: ending.one(self._known(), request, ending.cancel),
            "TerminateJob": lambda request: ending.one(self._known(), request, ending.terminate),
            "CancelJobs": lambda request: self._in_bulk(request, ending.cancel),
            "TerminateJobs": lambda request: self._in_bulk(request, ending.terminate),
        }

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one call.

        Raises:
            ApiError: It is refused.
        """
        if operation not in self.operations:
            raise ApiError(f"this endpoint does not do {operation}", "UnknownOperationException", 404)

        return self.operations[operation](request)

    def add(self, job: Job) -> None:
        """Take up a job: it lives from now on."""
        self.jobs[job.id] = job
        self.start(self._live(job))

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do this beside all else; what goes wrong in it is kept for whoever stops the server."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def reaches(self, id_: str, statuses: tuple[str, ...]) -> None:
        """Return when a job has one of these statuses; a child is waited for until its parent has spawned it.

        Raises:
            KeyError: There is no such job, and there will be none.
        """
        parent, _, index = id_.partition(":")

        if index:
            await self.jobs[parent].reaches(("PENDING", *ENDED))

        await self.jobs[id_].reaches(statuses)

    async def clear(self) -> None:
        """End all that runs and forget all jobs; queues and definitions stay as they were made."""
        tasks = [*self._tasks]

        for task in tasks:
            task.cancel()

        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(running.kill() for running in [*Running.alive]))
        self.jobs.clear()
        self.plans.clear()
        self.queues.heal()

    def end(self, job: Job, way: str) -> None:
        """Let a RUNNING job end in one of the ways of ``ends``.

        Raises:
            ApiError: It is not running, or there is no such way to end a running job.
        """
        require(way in ENDS and ENDS[way].when != "start", f"a running job cannot end by {way!r}")
        require(job.status == "RUNNING", f"{job.id} is {job.status}, not RUNNING")

        if ENDS[way].when == "finished":
            job.told_at_the_end = way
        elif not job.told.done():
            job.told.set_result(way)

    def variables_of(self, job: Job, environment: ComputeEnvironment, path: str) -> dict[str, str]:
        """Return the environment that a job's container has: nothing of the server's but where the server is."""
        own = {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(job.attempts)),
            "AWS_BATCH_JQ_NAME": job.queue.name,
            "AWS_BATCH_CE_NAME": environment.name,
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE" if environment.is_fargate else "AWS_ECS_EC2",
            "AWS_ENDPOINT_URL": self._url,
        }

        if environment.is_fargate:
            own |= {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}

        if job.index is not None:
            own["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)

        if job.spec.job_role is not None:
            address = self.credentials.address_for(job.spec.job_role)
            own["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{self._url}{address}"

        return {"PATH": path, "HOME": "/root", "HOSTNAME": job.id[:12], **job.spec.environment, **own}

    async def _live(self, job: Job) -> None:
        try:
            await live(self, job)
        except Exception as error:
            job.become("FAILED", f"the endpoint broke: {error!r}")
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)

        if not task.cancelled() and (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a job's life broke", "exception": error, "task": task})

    def _known(self) -> dict[str, Job]:
        """The jobs that AWS knows: an order to one that it has forgotten is one to an unknown id."""
        remembered = self.knobs.remembered_for
        return {id_: job for id_, job in self.jobs.items() if is_known(job, 0, remembered)}

    def _submit(self, request: dict[str, Any]) -> dict[str, Any]:
        queue = self.queues.queue(request["jobQueue"])
        definition = self.definitions.of(request["jobDefinition"])

        for entry in request.get("dependsOn", []):
            require(entry.get("jobId") in self.jobs, f"Job {entry.get('jobId')} not found.")
            require("type" not in entry, "this endpoint knows no N_TO_N and SEQUENTIAL dependencies")

        job = new_job(request, queue, definition, self._arn_prefix)
        self.add(job)
        return {"jobArn": job.arn, "jobName": job.name, "jobId": job.id}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        ids = [id_.rpartition("/")[2] for id_ in request["jobs"]]
        require(1 <= len(ids) <= MOST_DESCRIBED, f"jobs must have between 1 and {MOST_DESCRIBED} elements")
        self._described += 1
        knobs = self.knobs
        found = [self.jobs[id_] for id_ in dict.fromkeys(ids) if id_ in self.jobs]
        shown = [job for job in found if is_known(job, knobs.hidden_for, knobs.remembered_for)]

        if knobs.forgetful and self._described % 3 == 0:
            shown = [job for number, job in enumerate(shown, start=1) if number % knobs.forgetful]

        # In what order they come is nowhere promised.
        return {"jobs": [describe(job, knobs.summary_lag) for job in reversed(shown)]}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        knobs = self.knobs
        queue = self.queues.queue(request["jobQueue"]).arn if "jobQueue" in request else None
        hidden_for = max(knobs.hidden_for, knobs.unlisted_for)
        known = [job for job in self.jobs.values() if is_known(job, hidden_for, knobs.remembered_for)]
        page, token = list_jobs(request, known, queue)
        answer: dict[str, Any] = {"jobSummaryList": [summarize(job, knobs.summary_lag) for job in page]}
        return answer if token is None else {**answer, "nextToken": token}

    def _in_bulk(self, request: dict[str, Any], order: ending.Order) -> dict[str, Any]:
        if not self.knobs.bulk_calls:
            raise ApiError("Unknown operation", "UnknownOperationException", 404)

        return ending.many(self._known(), request, order, self.knobs.bulk_errors, self.knobs.bulk_code)
