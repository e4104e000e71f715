"""A Slurm cluster, shared by all executors that reach it in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from covalent_core.backend import Shared, Together
from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._cancels import Cancels
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._folders import Folders
from covalent_core_slurm._login_node import LoginNode
from covalent_core_slurm._looks import Queue, RunnerFiles
from covalent_core_slurm._sbatch import Sbatch

if TYPE_CHECKING:
    from covalent_core_ssh import SSHHost


class Cluster:
    """One connection, one poll and one line of orders for all jobs of a cluster.

    Args:
        host: Its login node; None if this machine is one.
        slurm_path: The folder with Slurm's commands, where ``PATH`` does not have it.
        poll_freq: The longest time, in seconds, between two looks at a job.
    """

    def __init__(self, host: SSHHost | None, slurm_path: str, poll_freq: float) -> None:
        self.login_node = LoginNode(host, slurm_path)
        self.commands = Commands(self.login_node)
        self.sbatch = Sbatch(self.login_node)
        self.folders = Folders(self.login_node)
        self.queue = Queue(self.commands, poll_freq)
        self.files = RunnerFiles(self.login_node)
        self.cancels = Cancels(self.commands, self.queue)
        self.recalls: Together[tuple[str, str], JobRecord | None] = Together(
            self.commands.recall, moment=0.2, longest=5.0
        )

    async def close(self) -> None:
        """Look no more, and leave the login node."""
        self.queue.close()
        self.files.close()
        await self.login_node.close()


#: Those in use.
clusters = Shared(Cluster, Cluster.close)
