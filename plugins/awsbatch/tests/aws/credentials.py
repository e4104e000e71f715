"""The keys that requests are signed with: who has them, and how long they live."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .knobs import Knobs

ROLE_PATH = "/_role/"


@dataclass(frozen=True)
class Key:
    """An access key, with a session token where it lives for a while only.

    Attributes:
        expires: Seconds since 1970; None is never.
    """

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and time.time() >= self.expires


class Credentials:
    """The keys that the endpoint gave away."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._keys: dict[str, Key] = {}
        self._roles: dict[str, str] = {}
        self.user = self.issue(None)

    def issue(self, seconds: float | None) -> Key:
        """Return a new key: a session's, which lives for so long, or a user's."""
        name, secret = secrets.token_hex(8).upper(), secrets.token_urlsafe(30)

        if seconds is None:
            key = Key(f"AKIA{name}", secret)
        else:
            # As long as the tokens of AWS are, so that what holds one is as long as it is there.
            key = Key(f"ASIA{name}", secret, secrets.token_urlsafe(768), time.time() + seconds)

        self._keys[key.access_key] = key
        return key

    def revoke(self, access_key: str) -> None:
        """Forget a key: from now on it is an invalid one."""
        self._keys.pop(access_key, None)

    def find(self, access_key: str) -> Key | None:
        """Return this key, None if it is none of these."""
        return self._keys.get(access_key)

    def address_for(self, role: str) -> str:
        """Return the path at which a container gets the credentials of its role."""
        secret = str(uuid.uuid4())
        self._roles[secret] = role
        return f"{ROLE_PATH}{secret}"

    def of_role(self, path: str) -> dict[str, Any] | None:
        """Return what ECS answers at such a path, None if it is none."""
        role = self._roles.get(path.removeprefix(ROLE_PATH))

        if role is None:
            return None

        key = self.issue(self._knobs.credentials_for)
        assert key.expires is not None
        expires = datetime.fromtimestamp(key.expires, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "RoleArn": role,
            "AccessKeyId": key.access_key,
            "SecretAccessKey": key.secret_key,
            "Token": key.token,
            "Expiration": expires,
        }
