"""A Slurm cluster, shared by all executors that reach it in the same way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from covalent_core.backend import Together
from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._cancels import Cancels
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._folders import Folders
from covalent_core_slurm._login_node import LoginNode
from covalent_core_slurm._watch import Watch
from covalent_core_slurm.errors import SlurmUnreachableError

if TYPE_CHECKING:
    from covalent_core_ssh import SSHHost

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds between two attempts to reach a cluster that gives no answer.
PAUSE = 1.0

#: Those in use, by the event loop that they belong to and by how they are reached.
_clusters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Cluster]] = WeakKeyDictionary()


class Cluster:
    """One connection, one poll and one line of orders for all jobs of a cluster.

    Args:
        host: Its login node; None if this machine is one.
        slurm_path: The folder with Slurm's commands, where ``PATH`` does not have it.
    """

    def __init__(self, host: SSHHost | None, slurm_path: str) -> None:
        self.login_node = LoginNode(host, slurm_path)
        self.commands = Commands(self.login_node)
        self.folders = Folders(self.login_node)
        self.watch = Watch(self.commands, self.login_node)
        self.cancels = Cancels(self.commands, self.watch)
        self.recalls: Together[str, JobRecord | None] = Together(self.commands.recall, moment=0.2, longest=5.0)
        self.users = 0

    async def again(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do it once more where the line was lost in the middle of it."""
        with suppress(*self.login_node.lost):
            return await operation()

        return await operation()

    async def patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do it, however long the cluster is out of reach: a task that runs is not lost because its controller is."""
        unreachable: tuple[type[Exception], ...] = (SlurmUnreachableError, *self.login_node.unreachable)

        while True:
            try:
                return await operation()
            except unreachable as error:
                log.warning("waiting for the cluster: %s", error)
                await asyncio.sleep(PAUSE)

    async def close(self) -> None:
        """Look no more, and leave the login node."""
        self.watch.close()
        await self.login_node.close()


def join(host: SSHHost | None, slurm_path: str) -> Cluster:
    """Return the cluster that is reached in this way, until who joined leaves it."""
    clusters, key = _clusters.setdefault(asyncio.get_running_loop(), {}), repr((host, slurm_path))

    if key not in clusters:
        clusters[key] = Cluster(host, slurm_path)

    clusters[key].users += 1
    return clusters[key]


async def leave(cluster: Cluster) -> None:
    """Use a cluster no more; the last one closes it."""
    cluster.users -= 1

    if not cluster.users:
        clusters = _clusters[asyncio.get_running_loop()]

        for key in [key for key, value in clusters.items() if value is cluster]:
            del clusters[key]

        await cluster.close()
