"""The executor: the steps of a job, as commands on a login node."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time as clock
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from covalent_core import Job, Results, hookimpl
from covalent_core_slurm._cancels import Order
from covalent_core_slurm._cluster import PAUSE, join, leave
from covalent_core_slurm._script import Script, check_options, check_spread, check_variables, sbatch_options
from covalent_core_slurm._seen import Seen
from covalent_core_slurm._stay import Stay, is_over
from covalent_core_slurm._submissions import Submission, Submissions
from covalent_core_slurm._watch import Waiter
from covalent_core_slurm.errors import SlurmError, SlurmUnreachableError

if TYPE_CHECKING:
    from covalent_core_ssh import SSHHost

log = logging.getLogger(__name__)

#: Seconds that an accepted order to submit, or the end of a job, may take to be seen.
SUBMIT_SECONDS, END_SECONDS = 15.0, 45.0

#: Grace periods up to this are kept by Slurm itself, whatever its KillWait is.
KILL_WAIT = 5.0

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
        self._cluster = join(self._host(), self.slurm_path)
        self._submissions = Submissions(self._cluster.commands, self._script)
        self._fetched = tempfile.TemporaryDirectory(prefix="covalent-core-slurm-", ignore_cleanup_errors=True)
        self._seen = Seen(self._cluster, self._fetched.name)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._fetched.cleanup()
        await leave(self._cluster)

    @hookimpl
    def pickle(self, job: Job) -> None:
        # Where it runs is part of the bundle, which the core makes.
        job.workdir = self._workdir(job)

    @hookimpl
    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        self._submissions.expect(job.dispatch_id, job.ticket)

        async def put() -> str:
            folder = await self._folder(job)
            await self._cluster.folders.make(folder)
            await self._cluster.login_node.put(payload, f"{folder}/bundle.pyz", job.report_progress)
            return folder

        return await self._cluster.again(put)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        submission = Submission(job.ticket, os.path.dirname(location), self._workdir(job))

        while True:
            try:
                return await self._submissions.submit(job.dispatch_id, submission)
            except SlurmUnreachableError as error:
                # What may have reached the controller is never sent again: the core asks `find`.
                if not error.unsent:
                    raise

                log.warning("job %s waits to be submitted: %s", job.ticket, error)

            job.raise_if_cancel_requested()
            await asyncio.sleep(PAUSE)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | None:
        deadline = clock.monotonic() + SUBMIT_SECONDS

        while True:
            word, known_by = await self._cluster.commands.submitted(job.ticket, location, forbid=job.cancel_requested)

            if word == "id":
                return known_by

            # Also where nobody has noted a submission: the folder may be gone, and the job not.
            waiter = Waiter(job.ticket, f"{location}/results/{job.ticket}", key=known_by)
            sight = await self._cluster.watch.look(waiter, now=True)

            if sight.record is not None:
                return sight.record.job_id

            if not word or clock.monotonic() > deadline:
                return None

            await asyncio.sleep(PAUSE / 4)

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        stay = self._stay(job, location, job_handle)
        sight = await stay.until_ended(partial(self._seen.take, job, location))

        if self.postrun_commands:
            await stay.until_over()

        await stay.check_end(sight)

    @hookimpl
    async def fetch(self, job: Job, location: str) -> Results:
        return await self._cluster.patiently(lambda: self._seen.results(job, location, job.node_ids))

    @hookimpl
    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        stay = self._stay(job, location, job_handle)
        patience = 0.0

        if job.grace > KILL_WAIT and (self.spread or not self.use_srun):
            await self._cluster.cancels.give(Order(job.ticket, job_handle, gently=True))
            patience = job.grace + KILL_WAIT

        if not patience or not await stay.is_over_within(patience):
            await self._cluster.cancels.give(Order(job.ticket, job_handle, gently=False))

            if not await stay.is_over_within(END_SECONDS):
                raise SlurmError(
                    f"Slurm job {job_handle} is not over {END_SECONDS:g} s after scancel; "
                    f"see: scontrol show job {job_handle}"
                )

        sight = await stay.look()
        return await self._seen.results(job, location, job.node_ids) if sight.ended else None

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        stay = self._stay(job, location, job_handle)
        await self._cluster.folders.end_members(f"{location}/results/{job.ticket}", node_ids)

        while True:
            sight = await stay.look()
            over = all(f".{node_id}.outcome" in sight.files for node_id in node_ids)

            if over or sight.ended or (sight.asked and is_over(sight.record)):
                return await self._seen.results(job, location, node_ids)

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        self._submissions.forget(job.dispatch_id, job.ticket)
        self._seen.forget(job.ticket)

        async def remove() -> None:
            folder = location or await self._folder(job)
            workdir = os.path.normpath(f"{folder}/{self._workdir(job)}") if self.create_unique_workdir else ""
            await self._cluster.folders.remove(folder, workdir)

        if self.cleanup:
            await self._cluster.again(remove)

    async def _folder(self, job: Job) -> str:
        return f"{await self._cluster.folders.workdir(self.remote_workdir)}/{job.ticket}"

    def _workdir(self, job: Job) -> str:
        """Return where a job runs, as seen from the folder of its own files."""
        return f"../{job.dispatch_id}/node_{job.node_ids[0]}" if self.create_unique_workdir else ".."

    def _stay(self, job: Job, location: str, job_handle: str) -> Stay:
        return Stay(self._cluster, job.ticket, location, job_handle, self.poll_freq)

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
