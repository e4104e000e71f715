"""The executor: the steps of a job, as commands on a login node."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from covalent_core import Job, Perhaps, Results, hookimpl
from covalent_core.errors import ExecutorError
from covalent_core_slurm._answers import key_of
from covalent_core_slurm._cluster import clusters
from covalent_core_slurm._job_files import JobFiles
from covalent_core_slurm._script import Script, check_options, check_spread, check_variables, sbatch_options
from covalent_core_slurm._stay import KILL_WAIT, Stay
from covalent_core_slurm._submissions import Submission, Submissions
from covalent_core_slurm.errors import SlurmRefusedError, SlurmUnreachableError

if TYPE_CHECKING:
    from covalent_core_ssh import SSHHost

#: The fields that are options of sbatch.
TYPED = ("partition", "account", "qos", "nodes", "ntasks", "cpus_per_task", "mem", "gres", "time", "constraint")


@dataclass
class SlurmExecutor:
    """Run electrons as jobs of a Slurm cluster. Its nodes need Python 3.8 or newer, and nothing else.

    Attributes:
        address: The login node, reached with SSH. Default: this machine is one.
        username: The login name there.
        port: The port of its SSH server.
        ssh_key_file: The private key; without it those that SSH itself would try.
        cert_file: The certificate for that key; without it ``<ssh_key_file>-cert.pub`` if it is there.
        known_hosts: The file of trusted host keys instead of ``~/.ssh/known_hosts``.
        accept_unknown_host: Trust a login node that `known_hosts` does not have, and add its key there.
        remote_workdir: A folder that the login node and the compute nodes share; relative to the home directory.
        create_unique_workdir: Whether each task runs in a folder of its own, ``<dispatch id>/node_<id>`` below
            `remote_workdir`, instead of in `remote_workdir`. What a task writes there stays.
        partition: As sbatch takes it, and so are the options down to `constraint`.
        time: The time limit: minutes, or ``hours:minutes:seconds``, or ``days-hours``.
        options: More options of sbatch, each by its name; None for one that takes no value.
        variables: Environment variables for the tasks.
        python_path: The interpreter on the compute nodes.
        conda_env: The conda environment to activate before it is started.
        bashrc_path: A file that is sourced before all else; empty for none.
        prerun_commands: Shell commands that come before a task, such as ``module load python/3.11``.
        postrun_commands: Shell commands that come after it.
        use_srun: Whether the task is started with srun, as a step of the job.
        srun_options: Options of srun, as `options` are those of sbatch.
        srun_append: What stands between the options of srun and the interpreter, a profiler for example.
        slurm_path: The folder with Slurm's commands, where ``PATH`` does not have it.
        poll_freq: The longest time, in seconds, between two looks at the controller. It is asked for all jobs at once,
            more often while they are young.
        settle_seconds: How long the files of a task may take to be seen, on a file system that shows late what was
            written elsewhere, when Slurm says that its job is over.
        max_workers: How many jobs may be in the queue at once. Default: as many as there are.
        cleanup: Whether the files of a job itself are removed when it has ended.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
        pack: How electrons are packed into jobs, see `ct.lattice`. Default: as the lattice says.
        spread: Whether those of a pack run side by side, one at a time in each of the tasks that the job has according
            to `ntasks` and `nodes`; srun starts these. Default: one after the other.
    """

    address: str | None = None
    username: str | None = None
    port: int | None = None
    ssh_key_file: str | None = None
    cert_file: str | None = None
    known_hosts: str | None = None
    accept_unknown_host: bool = False
    remote_workdir: str = "covalent-workdir"
    create_unique_workdir: bool = False
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int | str | None = None
    ntasks: int | None = None
    cpus_per_task: int | None = None
    mem: int | str | None = None
    gres: str | None = None
    time: int | str | None = None
    constraint: str | None = None
    options: dict[str, str | int | bool | None] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    python_path: str = "python3"
    conda_env: str | None = None
    bashrc_path: str = ""
    prerun_commands: list[str] = field(default_factory=list)
    postrun_commands: list[str] = field(default_factory=list)
    use_srun: bool = False
    srun_options: dict[str, str | int | bool | None] = field(default_factory=dict)
    srun_append: str | None = None
    slurm_path: str = ""
    poll_freq: float = 30.0
    settle_seconds: float = 60.0
    max_workers: int | None = None
    cleanup: bool = True
    grace: float = 5.0
    pack: int | Literal["chain", "auto"] | None = None
    spread: bool = False

    def __post_init__(self) -> None:
        check_variables(self.variables)
        check_options("srun_options", self.srun_options)
        options = sbatch_options({name: getattr(self, name) for name in TYPED}, self.options)

        if self.spread:
            check_spread(options)

        self._script = Script(
            options=options,
            python_path=self.python_path,
            bashrc_path=self.bashrc_path,
            conda_env=self.conda_env,
            variables=self.variables,
            prerun_commands=self.prerun_commands,
            postrun_commands=self.postrun_commands,
            use_srun=self.use_srun,
            srun_options=self.srun_options,
            srun_append=self.srun_append,
            spread=self.spread,
        )

    async def __aenter__(self) -> SlurmExecutor:
        self._cluster = clusters.join(self._host(), self.slurm_path, self.poll_freq)
        self._submissions = Submissions(self._cluster.sbatch, self._script)
        self._void_orders: dict[str, int] = {}
        return self

    async def __aexit__(self, *exception: object) -> None:
        await clusters.leave(self._cluster)

    @hookimpl
    def pickle(self, job: Job) -> None:
        # Where it runs is part of the bundle, which the core makes.
        job.workdir = self._workdir(job)

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        try:
            folder = await self._folder(job)
            await self._cluster.folders.make(folder)
            await self._cluster.login_node.put(payload, f"{folder}/bundle.pyz", job.report_progress)
        except SlurmUnreachableError as error:
            if error.refused:
                # Nothing runs yet that would be worth waiting for.
                raise SlurmRefusedError(str(error)) from error

            raise

        return folder

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        order = self._void_orders.get(job.ticket, 0)
        submission = Submission(job.ticket, os.path.dirname(location), self._workdir(job), order)
        return await self._submissions.submit(job, submission)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        said = await self._cluster.sbatch.submitted(job.ticket, location, bar=job.barred)

        if said.word == "id":
            return said.rest

        if said.word == "void":
            self._void_orders[job.ticket] = int(said.rest)
            return None

        # Also where its folder is gone: the job may be there.
        for record in await self._cluster.commands.jobs():
            if key_of(record) == (said.rest or job.ticket):
                return record.job_id

        never = job.barred or said.word == "gone"
        return None if never else Perhaps("sbatch was called and has left no job id, nor does squeue list the job")

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        files, stay = self._stay(job, location, job_handle)

        async with files.following():
            await stay.until_ended()

            if self.postrun_commands:
                await stay.until_over()

    @hookimpl
    async def fetch(self, job: Job, location: str) -> Results:
        return await JobFiles(self._cluster, job, location).results(job.node_ids)

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        files, stay = self._stay(job, location, job_handle)
        await self._cluster.folders.say_how_to_end(files.prefix, job.cancel_reason, job.cancel_grace)
        gently = job.cancel_grace > KILL_WAIT and (self.spread or not self.use_srun)
        await stay.end(gently=gently, grace=job.cancel_grace)
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
        self._void_orders.pop(job.ticket, None)
        folder = location or await self._folder(job)
        workdir = os.path.normpath(f"{folder}/{self._workdir(job)}") if self.create_unique_workdir else ""
        await self._cluster.folders.release(folder, workdir, keep=not self.cleanup)

    async def _folder(self, job: Job) -> str:
        return f"{await self._cluster.folders.workdir(self.remote_workdir)}/{job.ticket}"

    def _workdir(self, job: Job) -> str:
        """Return where a job runs, as seen from the folder of its own files."""
        return f"../{job.dispatch_id}/node_{job.node_ids[0]}" if self.create_unique_workdir else ".."

    def _stay(self, job: Job, location: str, job_handle: str) -> tuple[JobFiles, Stay]:
        files = JobFiles(self._cluster, job, location)
        return files, Stay(self._cluster, files, job_handle, self.settle_seconds)

    def _host(self) -> SSHHost | None:
        if self.address is None:
            return None

        from covalent_core_ssh import SSHHost

        return SSHHost(
            self.address,
            username=self.username,
            port=self.port,
            ssh_key_file=self.ssh_key_file,
            cert_file=self.cert_file,
            known_hosts=self.known_hosts,
            accept_unknown_host=self.accept_unknown_host,
        )
