"""The services that moto plays: S3, CloudWatch Logs, IAM and STS."""

from __future__ import annotations

import importlib
import io
import threading
from datetime import timezone
from typing import Any

from .answers import Answer
from .credentials import Key

Environ = dict[str, Any]


class MotoServices:
    """One door to moto, one request at a time: it is not made for threads, and "only the first writes" has to be true.

    moto takes a second to import: that is done beside all else, and waited for when moto is needed.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._application: Any = None
        self._lock = threading.RLock()
        self._importing = threading.Thread(target=self._import, daemon=True)
        self._importing.start()

    def answer(self, environ: Environ, body: bytes) -> Answer:
        """Answer one request, of which the body has been read."""
        self._importing.join()
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> None:
            begun[:] = [int(status.split()[0]), headers]

        environ["wsgi.input"] = io.BytesIO(body)

        with self._lock:
            text = b"".join(self._application(environ, start_response))

        return Answer(begun[0], begun[1], text)

    def open_stream(self, region: str, group: str, stream: str, own_group: str) -> None:
        """Make a log stream; a group only if it is the one that Batch makes by itself.

        Raises:
            LookupError: There is no such group.
        """
        logs = self._backend("logs", region)

        with self._lock:
            if group not in logs.groups:
                if group != own_group:
                    raise LookupError(f"The specified log group does not exist: {group}")

                logs.create_log_group(group, {})

            logs.create_log_stream(group, stream)

    def write_lines(self, region: str, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        """Add lines to a log stream, if nobody has removed it."""
        logs = self._backend("logs", region)

        with self._lock:
            if group in logs.groups and stream in logs.groups[group].streams:
                logs.put_log_events(group, stream, events)

    def has_role(self, arn: str) -> bool:
        """Whether IAM has this role."""
        with self._lock:
            return any(role.arn == arn for role in self._backend("iam", "aws").roles.values())

    def find_key(self, access_key: str) -> Key | None:
        """Return a key that IAM or STS gave away."""
        with self._lock:
            role = self._backend("sts", "aws").get_assumed_role_from_access_key(access_key)
            keys = self._backend("iam", "aws").get_all_access_keys_for_all_users()

        if role is not None:
            expires = role.expiration.replace(tzinfo=timezone.utc).timestamp()
            return Key(access_key, role.secret_access_key, role.session_token, expires)

        found = next((key for key in keys if key.access_key_id == access_key), None)
        return None if found is None else Key(access_key, found.secret_access_key)

    def _backend(self, service: str, region: str) -> Any:
        self._importing.join()
        backends = getattr(importlib.import_module(f"moto.{service}.models"), f"{service}_backends")
        return backends[self._account][region]

    def _import(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._application = DomainDispatcherApplication(create_backend_app)

        for service in ("s3", "logs", "iam"):
            importlib.import_module(f"moto.{service}.models")
