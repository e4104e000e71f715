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
    """The keys of one account: those that the endpoint gave away, and moto's."""

    def __init__(self, knobs: Knobs, account: str) -> None:
        self._knobs = knobs
        self._account = account
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
        """Return this key, None if nobody has it."""
        return self._keys.get(access_key) or self._of_moto(access_key)

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

        time.sleep(self._knobs.credentials_delay)
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

    def has_role(self, arn: str) -> bool:
        """Whether IAM has this role."""
        from moto.iam.models import iam_backends

        return any(role.arn == arn for role in iam_backends[self._account]["aws"].roles.values())

    def _of_moto(self, access_key: str) -> Key | None:
        """A key that IAM or STS of moto gave away."""
        from moto.iam.models import iam_backends
        from moto.sts.models import sts_backends

        role = sts_backends[self._account]["aws"].get_assumed_role_from_access_key(access_key)

        if role is not None:
            expires = role.expiration.replace(tzinfo=timezone.utc).timestamp()
            return Key(access_key, role.secret_access_key, role.session_token, expires)

        user = iam_backends[self._account]["aws"].get_all_access_keys_for_all_users()
        found = next((key for key in user if key.access_key_id == access_key), None)
        return None if found is None else Key(access_key, found.secret_access_key)
