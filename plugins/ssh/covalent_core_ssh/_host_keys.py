"""Which host keys are trusted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import asyncssh

log = logging.getLogger(__name__)


class FirstUse:
    """Trust a host that known_hosts has never heard of, and write its key down; refuse one whose key has changed."""

    def __init__(self, known_hosts: str | None) -> None:
        self._file = Path(known_hosts or "~/.ssh/known_hosts").expanduser()
        self._unknown = False

    def match(self, host: str, address: str, port: int | None) -> Any:
        """Return what is known of a host, as asyncssh wants it."""
        lines = self._file.read_bytes() if self._file.exists() else b""
        found = asyncssh.match_known_hosts(lines, host, address, port)
        self._unknown = not any(found)
        return found

    def client(self) -> asyncssh.SSHClient:
        """Return who decides about keys that `match` has not given."""
        return _Client(self)

    def accept(self, host: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Decide about a key; the next connection finds it in the file."""
        if self._unknown:
            name = host if port == asyncssh.DEFAULT_PORT else f"[{host}]:{port}"
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

            with self._file.open("ab") as file:
                file.write(f"{name} ".encode() + key.export_public_key().strip() + b"\n")

            log.warning("the host key of %s, %s, was added to %s", name, key.get_fingerprint(), self._file)

        return self._unknown


class _Client(asyncssh.SSHClient):
    def __init__(self, policy: FirstUse) -> None:
        self._policy = policy

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return self._policy.accept(host, port, key)
