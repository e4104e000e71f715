"""Run the tasks of Covalent Core on any machine that can be reached with SSH."""

from covalent_core_ssh._executor import SSHExecutor
from covalent_core_ssh.connection import Finished, SSHConnection, SSHHost
from covalent_core_ssh.errors import SSHError, SSHLineLostError, SSHRefusedError, SSHUnreachableError

__version__ = "0.1.0"

__all__ = [
    "Finished",
    "SSHConnection",
    "SSHError",
    "SSHExecutor",
    "SSHHost",
    "SSHLineLostError",
    "SSHRefusedError",
    "SSHUnreachableError",
]
