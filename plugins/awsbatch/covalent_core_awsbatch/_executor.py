"""The executor: the steps of a job, as calls of S3 and AWS Batch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from anyio import to_thread

from covalent_core import Job, Perhaps, Results, hookimpl
from covalent_core.backend import options
from covalent_core.errors import ExecutorError
from covalent_core_awsbatch._account import accounts
from covalent_core_awsbatch._definition import Definition, stop_seconds
from covalent_core_awsbatch._definitions import purge
from covalent_core_awsbatch._finding import Finding
from covalent_core_awsbatch._job_files import JobFiles
from covalent_core_awsbatch._objects import Folder
from covalent_core_awsbatch._options import RETIRED, check, role_arn
from covalent_core_awsbatch._queues import Queue
from covalent_core_awsbatch._resources import fitted
from covalent_core_awsbatch._service import Access, Service
from covalent_core_awsbatch._stay import Stay
from covalent_core_awsbatch._submissions import Submission, Submissions, Terms
from covalent_core_awsbatch.errors import BatchRefusedError


@options(retired=RETIRED)
@dataclass
class AWSBatchExecutor:
    """Run electrons as jobs of AWS Batch. Their image needs Python 3.8 or newer, and nothing else.

    Attributes:
        s3_bucket_name: The bucket for the files of jobs, in the region of the queue. It must be there.
        batch_queue: The job queue, by name or ARN, on Fargate or EC2.
        container_image_uri: The image.
        batch_execution_role_name: The role that pulls the image and writes the log, by name or ARN; Fargate needs one.
        batch_job_role_name: The role that tasks have, by name or ARN. Without one a job gets its files by presigned
            links, which last no longer than your credentials.
        batch_job_log_group_name: The log group. Default: ``/aws/batch/job``.
        credentials: A file with credentials, instead of ``~/.aws/credentials``.
        profile: The profile in ``~/.aws/config``; as all else that is None, it is as boto3 finds it.
        region: The region.
        s3_prefix: What the keys of all objects begin with.
        vcpu: How many processors a task has; rounded up to what there is.
        memory: How much memory, in GB of 1024 MiB; rounded up to what there is.
        num_gpus: How many GPUs, on EC2.
        time_limit: Seconds that a job may run from its start on. Default: as many as it takes.
        platform: ``EC2`` or ``FARGATE``. Default: what the queue has.
        share_identifier: Whose share of a fair-share queue it is; such a queue needs one.
        scheduling_priority: From 0 to 9999: who of those that have this share comes first.
        assign_public_ip: Whether a task on Fargate has an address in the internet, which in a public subnet is the
            only way to it.
        ephemeral_storage: The size of the disk on Fargate, from 21 to 200 GiB. Default: 20.
        architecture: ``X86_64`` or ``ARM64``, on Fargate.
        shared_memory: The size of ``/dev/shm`` in MiB, on EC2. Default: 64.
        longest_wait: Seconds for which a job may be RUNNABLE; then it fails. Default: as many as it takes.
        python: The interpreter in the image.
        variables: Environment variables for the tasks. They travel in the bundle: AWS Batch does not show them.
        tags: Tags for jobs and definitions.
        poll_freq: The longest time, in seconds, between two looks at AWS Batch. It is asked for all jobs at once, more
            often while they are young.
        answer_seconds: How long AWS may take for an answer.
        max_workers: How many jobs may be in the queue at once. Default: as many as there are.
        cleanup: Whether the objects of a job are removed when it has ended.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled; 120 at most on Fargate.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
    """

    s3_bucket_name: str
    batch_queue: str
    container_image_uri: str = "public.ecr.aws/docker/library/python:3"
    batch_execution_role_name: str | None = None
    batch_job_role_name: str | None = None
    batch_job_log_group_name: str | None = None
    credentials: str | None = None
    profile: str | None = None
    region: str | None = None
    s3_prefix: str = "covalent-core"
    vcpu: float = 2.0
    memory: float = 4.0
    num_gpus: int = 0
    time_limit: float | None = None
    platform: Literal["EC2", "FARGATE"] | None = None
    share_identifier: str | None = None
    scheduling_priority: int | None = None
    assign_public_ip: bool = False
    ephemeral_storage: int | None = None
    architecture: Literal["X86_64", "ARM64"] | None = None
    shared_memory: int | None = None
    longest_wait: float | None = None
    python: str = "python3"
    variables: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    poll_freq: float = 10.0
    answer_seconds: float = 30.0
    max_workers: int | None = None
    cleanup: bool = True
    grace: float = 5.0
    pack: int | Literal["chain", "auto"] | None = None

    def __post_init__(self) -> None:
        check(self)

    async def __aenter__(self) -> AWSBatchExecutor:
        self._account = accounts.join(self._access(), self.poll_freq)
        self._submissions = Submissions(self._account, self._terms(), self._definition)
        self._finding = Finding(self._account, self.batch_queue)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await accounts.leave(self._account)

    def purge(self) -> list[str]:
        """Deregister the job definitions of this package that no job uses; return their ARNs.

        Spared are those of jobs that have not ended or were made within a day. A dispatcher that is about to use one
        registers it anew.

        Raises:
            botocore.exceptions.ClientError: AWS said no.
        """
        return purge(Service(self._access()).batch)

    @hookimpl
    def pickle(self, job: Job) -> None:
        # What tasks have in their environment is part of the bundle, which the core makes.
        job.environment |= self.variables

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        folder, objects = self._folder(job), self._account.objects

        if isinstance(payload, bytes):
            await objects.put(folder, "bundle.pyz", payload)
        else:
            await objects.upload(folder, "bundle.pyz", payload, _Report(job, len(payload)))

        return str(folder)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        order = self._finding.void_orders.get(job.ticket, 0)
        submission = Submission(Folder.parse(location), order, tuple(job.node_ids))
        return await self._submissions.submit(job, submission)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        return await self._finding.find(job, Folder.parse(location))

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        files, stay = self._stay(job, location, job_handle)

        async with files.following(job_handle):
            await stay.until_ended()

    @hookimpl
    async def fetch(self, job: Job, location: str) -> Results:
        return await self._files(job, location).results(job.node_ids)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        files, stay = self._stay(job, location, job_handle)

        if await stay.end(job.cancel_reason):
            # Nothing is alive; what is not at hand is not waited for.
            with suppress(ExecutorError, OSError):
                return await files.results(job.node_ids)

        return None

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        files, stay = self._stay(job, location, job_handle)
        await stay.end_members(node_ids)
        return await files.results(node_ids)

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        folder = Folder.parse(location) if location else self._folder(job)
        self._finding.void_orders.pop(job.ticket, None)
        self._account.forget(folder)

        if self.cleanup:
            await self._account.releases.release(folder)
        else:
            await self._finding.bar(folder)

    def _folder(self, job: Job) -> Folder:
        return Folder(self.s3_bucket_name, f"{self.s3_prefix}/{job.ticket}")

    def _access(self) -> Access:
        return Access(self.credentials, self.profile, self.region, self.answer_seconds)

    def _terms(self) -> Terms:
        return Terms(
            queue=self.batch_queue,
            beat=max(1.0, min(10.0, self._silence(self.grace) / 4)),
            time_limit=self.time_limit,
            share_identifier=self.share_identifier,
            scheduling_priority=self.scheduling_priority,
            tags=self.tags,
        )

    def _silence(self, grace: float) -> float:
        """Return how many seconds without a sign of life prove the end of a job that AWS says is over."""
        return grace + stop_seconds("EC2", grace)

    async def _definition(self, grace: float) -> Definition:
        """Return what is said of jobs with a grace period.

        Raises:
            BatchRefusedError: The queue does not take them.
            ExecutorOptionError: The platform has nothing like that.
        """
        queue = await self._account.queues.look(self.batch_queue)
        self._check_queue(queue)
        platform = self.platform or queue.platform
        roles = (self.batch_execution_role_name, self.batch_job_role_name)
        execution_role, job_role = [await to_thread.run_sync(role_arn, self._account.service, name) for name in roles]
        return Definition(
            image=self.container_image_uri,
            platform=platform,
            resources=fitted(platform, self.vcpu, self.memory, self.num_gpus),
            grace=grace,
            python=self.python,
            time_limit=self.time_limit,
            execution_role=execution_role,
            job_role=job_role,
            log_group=self.batch_job_log_group_name,
            region=self._account.service.region,
            assign_public_ip=self.assign_public_ip,
            ephemeral_storage=self.ephemeral_storage,
            architecture=self.architecture,
            shared_memory=self.shared_memory,
            tags=self.tags,
        )

    def _check_queue(self, queue: Queue) -> None:
        if queue.shares and self.share_identifier is None:
            raise BatchRefusedError(f"the job queue {queue.name!r} shares fairly: set share_identifier")

        if not queue.shares and self.share_identifier is not None:
            raise BatchRefusedError(f"the job queue {queue.name!r} has no shares: leave out share_identifier")

        if queue.platform == "FARGATE" and self.batch_execution_role_name is None:
            raise BatchRefusedError("Fargate needs a role that pulls the image: set batch_execution_role_name")

        if self.platform not in (None, queue.platform):
            raise BatchRefusedError(
                f"platform is {self.platform}, and the job queue {queue.name!r} is on {queue.platform}"
            )

    def _files(self, job: Job, location: str) -> JobFiles:
        return JobFiles(self._account, job, location, linked=self.batch_job_role_name is None)

    def _stay(self, job: Job, location: str, job_handle: str) -> tuple[JobFiles, Stay]:
        files = self._files(job, location)
        stay = Stay(
            self._account,
            files,
            job_handle,
            queue=self.batch_queue,
            silence=self._silence(job.grace),
            longest_wait=self.longest_wait,
            log_group=self.batch_job_log_group_name,
        )
        return files, stay


class _Report:
    """Says how far an upload is, and ends it when the job is cancelled."""

    def __init__(self, job: Job, size: int) -> None:
        self._job = job
        self._size = size
        self._sent = 0

    def __call__(self, more: int) -> None:
        self._sent += more
        self._job.report_progress(self._sent, self._size)
        self._job.raise_if_cancel_requested()
