"""The credentials of roles, as a container gets them: from an address, for a while, and again when they are over."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from dataclasses import dataclass

from .account import Account, now


@dataclass(frozen=True)
class Session:
    """Credentials that were given out."""

    account: Account
    expires: float


class Roles:
    """All that were given out, and to whom more are given.

    Args:
        address: Where they are to be fetched.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._offers: dict[str, tuple[Account, str]] = {}
        self._sessions: dict[str, Session] = {}

    def offer(self, account: Account, role: str) -> str:
        """Return the address at which credentials for a role can be fetched."""
        name = uuid.uuid4().hex
        self._offers[name] = (account, role)
        return f"{self._address}/{name}"

    def fetch(self, name: str) -> dict[str, str] | None:
        """Return new credentials; None where nothing was offered."""
        if name not in self._offers:
            return None

        account, role = self._offers[name]
        seconds = account.knobs.role_credentials_seconds
        key = f"ASIA{uuid.uuid4().hex[:16].upper()}"
        self._sessions[key] = Session(account, time.monotonic() + seconds)
        expires = now() + dt.timedelta(seconds=seconds)

        return {
            "RoleArn": role,
            "AccessKeyId": key,
            "SecretAccessKey": uuid.uuid4().hex,
            "Token": uuid.uuid4().hex * 8,
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def session(self, access_key: str) -> Session | None:
        """Return the credentials of a role by their access key."""
        return self._sessions.get(access_key)
