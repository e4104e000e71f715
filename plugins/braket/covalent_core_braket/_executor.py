"""The executor: its options, and which of its ways they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anyio import to_thread

from covalent_core import Job, Perhaps, Results, hookimpl
from covalent_core.backend import options
from covalent_core_braket._checks import check_options
from covalent_core_braket._way import Way

#: The simulator of this machine.
LOCAL_SIMULATOR = "local:braket/braket_sv"


@options(
    renamed={"max_job_length": "time_limit", "quantum_device_arn": "quantum_device"},
    ignored={
        "log_group_name": "has no effect: what a task writes is shown at its node",
        "cache_dir": "has no effect: nothing is kept here",
    },
)
@dataclass
class BraketExecutor:
    """Run the circuits that electrons return, or, with a role, the electrons themselves as hybrid jobs of Braket.

    Attributes:
        device: What runs the circuits that an electron returns: a simulator of this machine, which needs no account,
            or the ARN of a device. Default: ``local:braket/braket_sv``, or none where there is a role.
        shots: How often each circuit is run.
        disable_qubit_rewiring: Whether circuits run on exactly the qubits that they name.
        device_parameters: Further parameters for the device, as Amazon's SDK takes them.
        braket_job_execution_role_name: The role of hybrid jobs, by name or ARN; with it, electrons run as such.
        ecr_image_uri: The image of hybrid jobs, in ECR and with Braket's start contract. Default: Amazon's own.
        classical_device: The type of their instances.
        storage: The size of their disks, in GB.
        time_limit: After how many seconds Braket ends a hybrid job.
        quantum_device: The device that they are for, and have priority on. Default: none.
        hyperparameters: What ``get_hyperparameters()`` of Amazon's SDK gives in them.
        input_data: What is copied into them: URIs in S3 by the names of their channels.
        output_s3_uri: Where what they write into Braket's folder for results goes, and stays. Default: it is removed.
        checkpoint_s3_uri: Where their checkpoints go, and stay. Default: they are removed.
        reservation_arn: The reservation for hybrid jobs and quantum tasks.
        tags: Tags of hybrid jobs and quantum tasks.
        s3_bucket_name: The bucket for all files; it has to be there.
        s3_prefix: Below what in it they are.
        region: The region of everything. Default: that of the profile, or of ``AWS_DEFAULT_REGION``.
        profile: The profile of AWS. Default: the usual search for credentials.
        credentials: A file of credentials instead of ``~/.aws/credentials``.
        workdir: The folder of this machine in which the functions of circuits run.
        poll_freq: The longest time, in seconds, between two looks at the same job.
        max_workers: How many jobs there may be at once. Default: as many as there are, or as the quotas allow.
        cleanup: Whether the files of a job itself are removed when it has ended.
        grace: Seconds that a cancelled task has to end by itself.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
    """

    device: str | None = None
    shots: int = 1000
    disable_qubit_rewiring: bool = False
    device_parameters: dict[str, Any] = field(default_factory=dict)
    braket_job_execution_role_name: str | None = None
    ecr_image_uri: str | None = None
    classical_device: str = "ml.m5.large"
    storage: int = 30
    time_limit: int = 3600
    quantum_device: str = "local:none/none"
    hyperparameters: dict[str, str] = field(default_factory=dict)
    input_data: dict[str, str] = field(default_factory=dict)
    output_s3_uri: str | None = None
    checkpoint_s3_uri: str | None = None
    reservation_arn: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    s3_bucket_name: str | None = None
    s3_prefix: str = "covalent-core"
    region: str | None = None
    profile: str | None = None
    credentials: str | None = None
    workdir: str = "~/.cache/covalent-core-braket"
    poll_freq: float = 30.0
    max_workers: int | None = None
    cleanup: bool = True
    grace: float = 5.0
    pack: int | Literal["chain", "auto"] | None = None

    def __post_init__(self) -> None:
        check_options(self)

    async def __aenter__(self) -> BraketExecutor:
        # It imports boto3, which takes a while.
        self._way = await to_thread.run_sync(self._make_way)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._way.close()

    @hookimpl
    def pickle(self, job: Job) -> None:
        # What is done with the function goes into the bundle, which the core makes.
        self._way.prepare(job)

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        return await self._way.upload(job, payload)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        return await self._way.provision(job, location)

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        await self._way.run(job, location, job_handle)

    @hookimpl
    async def fetch(self, job: Job, location: str, job_handle: str) -> Results:
        return await self._way.fetch(job, location, job_handle)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        return await self._way.cancel(job, location, job_handle)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        return await self._way.cancel_members(job, location, job_handle, node_ids)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        return await self._way.find(job, location)

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        await self._way.release(job, location)

    # --- the ways ----------------------------------------------------------------------------------------------------

    def _make_way(self) -> Way:
        if self.braket_job_execution_role_name:
            return self._hybrid_jobs(self.braket_job_execution_role_name)

        device = self.device or LOCAL_SIMULATOR
        return self._simulations(device) if device.startswith("local:") else self._quantum_tasks(device)

    def _simulations(self, device: str) -> Way:
        from covalent_core_braket._processes import Processes
        from covalent_core_braket._simulations import Simulations

        return Simulations(Processes(self.workdir), device, self.shots, keep=not self.cleanup)

    def _quantum_tasks(self, device: str) -> Way:
        from covalent_core_braket._account import Account
        from covalent_core_braket._processes import Processes
        from covalent_core_braket._quantum_tasks import Order, QuantumTasks
        from covalent_core_braket._storage import Storage

        account = Account(self.region, self.profile, self.credentials)
        order = Order(
            device=device,
            shots=self.shots,
            disable_qubit_rewiring=self.disable_qubit_rewiring,
            device_parameters=self.device_parameters,
            reservation_arn=self.reservation_arn,
            tags=self.tags,
        )
        storage = Storage(account, str(self.s3_bucket_name), self.s3_prefix)
        processes = Processes(self.workdir)
        return QuantumTasks(account, storage, processes, order, self.poll_freq, keep=not self.cleanup)

    def _hybrid_jobs(self, role: str) -> Way:
        from covalent_core_braket._account import Account
        from covalent_core_braket._hybrid_jobs import HybridJobs, Request
        from covalent_core_braket._storage import Storage

        account = Account(self.region, self.profile, self.credentials)
        request = Request(
            role=role,
            image=self.ecr_image_uri,
            instance_type=self.classical_device,
            storage=self.storage,
            time_limit=self.time_limit,
            device=self.quantum_device,
            hyperparameters=self.hyperparameters,
            inputs=self.input_data,
            output_s3_uri=self.output_s3_uri,
            checkpoint_s3_uri=self.checkpoint_s3_uri,
            reservation_arn=self.reservation_arn,
            tags=self.tags,
        )
        storage = Storage(account, str(self.s3_bucket_name), self.s3_prefix)
        return HybridJobs(account, storage, request, self.poll_freq, keep=not self.cleanup)
