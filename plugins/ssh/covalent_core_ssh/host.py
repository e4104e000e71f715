"""A host, how it is reached, and what a command there has come to: what can be said of it without a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass
class SSHHost:
    """A host and the way there. What is not set is left to ``~/.ssh/config``, the SSH agent and SSH's defaults.

    Attributes:
        hostname: Its name or address, or an alias in ``~/.ssh/config``.
        username: The login name there.
        port: The port of its SSH server.
        ssh_key_file: The private key; without it those that SSH itself would try.
        cert_file: The certificate for that key; without it ``<ssh_key_file>-cert.pub`` if it is there.
        known_hosts: The file of trusted host keys instead of ``~/.ssh/known_hosts``.
        accept_unknown_host: Trust a host that `known_hosts` does not have, and add its key there. One whose key is
            not the one in the file is refused all the same.
        keepalive_interval: Seconds of silence after which the host is asked for a sign of life. After three without
            an answer the line is dead.
        connect_timeout: Seconds that an attempt to connect may take.
        retry_connect: Whether to try again where no connection can be made, or where it is lost.
        max_connection_attempts: How many attempts in a row.
        retry_wait_time: Seconds between the first two attempts, doubled from one to the next, up to 30.
    """

    hostname: str
    username: str | None = None
    port: int | None = None
    ssh_key_file: str | None = None
    cert_file: str | None = None
    known_hosts: str | None = None
    accept_unknown_host: bool = False
    keepalive_interval: float = 15.0
    connect_timeout: float = 30.0
    retry_connect: bool = True
    max_connection_attempts: int = 5
    retry_wait_time: float = 1.0

    @property
    def place(self) -> str:
        """The host as a user would write it."""
        user = f"{self.username}@" if self.username else ""
        return f"{user}{self.hostname}" + (f":{self.port}" if self.port else "")

    @property
    def attempts(self) -> int:
        """How often something is tried before it has failed."""
        return max(1, self.max_connection_attempts) if self.retry_connect else 1


class Finished(NamedTuple):
    """How a command ended. A status below zero is a signal."""

    status: int
    stdout: bytes
    stderr: bytes
