"""Run the tasks of Covalent Core on any machine that can be reached with SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from covalent_core_ssh._executor import SSHExecutor
from covalent_core_ssh.errors import SSHDeniedError, SSHError, SSHLineLostError, SSHRefusedError, SSHUnreachableError
from covalent_core_ssh.host import Finished, SSHHost

if TYPE_CHECKING:
    from covalent_core_ssh.connection import SSHConnection

__version__ = "0.1.0"

__all__ = [
    "Finished",
    "SSHConnection",
    "SSHDeniedError",
    "SSHError",
    "SSHExecutor",
    "SSHHost",
    "SSHLineLostError",
    "SSHRefusedError",
    "SSHUnreachableError",
]


def __getattr__(name: str) -> Any:
    # asyncssh takes a while to import, and who only says where a task is to run has no use for it.
    if name != "SSHConnection":
        raise AttributeError(f"module 'covalent_core_ssh' has no attribute {name!r}")

    from covalent_core_ssh.connection import SSHConnection

    return SSHConnection
