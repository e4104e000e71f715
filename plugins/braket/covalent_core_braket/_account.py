"""The account of AWS that is used: its clients, asked in threads and no oftener than its quotas allow.

To import this takes as long as boto3 does; it is imported when an executor is entered.
"""

from __future__ import annotations

import threading
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from anyio import CapacityLimiter, to_thread
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import NoRegionError

from covalent_core_braket._rates import rates_of
from covalent_core_braket._refusals import translate
from covalent_core_braket.errors import BraketError

#: Questions to AWS that are under way at once.
THREADS = 32

#: What only asks, and may be left alone by whoever does not want to know any more.
QUESTIONS = ("Get", "Head", "List", "Search")


class Account:
    """Region, profile and credentials of one executor; nothing of it is chosen by Amazon's SDK.

    Args:
        region: Default: that of the profile, or of ``AWS_DEFAULT_REGION``.
        profile: Default: the usual search for credentials.
        credentials: A file of credentials instead of ``~/.aws/credentials``.
    """

    def __init__(self, region: str | None, profile: str | None, credentials: str | None) -> None:
        self._region = region
        self._profile = profile
        self._credentials = credentials
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._rates = rates_of(region or "", profile or "", credentials or "")

    @cached_property
    def _threads(self) -> CapacityLimiter:
        return CapacityLimiter(THREADS)

    async def region(self) -> str:
        """Return the region in which all is done.

        Raises:
            BraketError: None is configured.
        """
        found: str = (await self.client("braket")).meta.region_name
        return found

    async def client(self, service: str) -> Any:
        """Return the client of a service; it may be used from any thread."""
        if service not in self._clients:
            await to_thread.run_sync(self._open, service, limiter=self._threads)

        return self._clients[service]

    async def ask(self, service: str, operation: str, **request: Any) -> dict[str, Any]:
        """Ask a service for something, when it is this operation's turn.

        Raises:
            BraketUnreachableError: There is no answer.
            BraketError: The answer is no, see `_refusals`.
        """
        client = await self.client(service)

        if operation in self._rates:
            await self._rates[operation].take()

        answer: dict[str, Any] = await self.do(partial(getattr(client, xform_name(operation)), **request), operation)
        return answer

    async def do(self, call: Any, operation: str) -> Any:
        """Call a method of a client in a thread, and raise what is meant by its errors."""
        try:
            asks = operation.startswith(QUESTIONS)
            return await to_thread.run_sync(call, abandon_on_cancel=asks, limiter=self._threads)
        except Exception as error:
            raise translate(error, operation) from error

    def wait_for(self, operation: str) -> float:
        """Return for how many seconds an operation would have to wait for its turn."""
        return self._rates[operation].wait()

    def _open(self, service: str) -> None:
        with self._lock:
            if service in self._clients:
                return

            try:
                self._clients[service] = self._session.client(service, config=_config(service))
            except Exception as error:
                raise _no_client(error, service) from error

    @cached_property
    def _session(self) -> Any:
        session = botocore.session.Session(profile=self._profile)

        if self._credentials:
            session.set_config_variable("credentials_file", str(Path(self._credentials).expanduser()))

        return boto3.Session(botocore_session=session, region_name=self._region)


def _config(service: str) -> Any:
    # A second request that is refused would hide that the first was accepted: the core asks again itself.
    attempts = 1 if service == "braket" else 3
    return Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": attempts})


def _no_client(error: Exception, service: str) -> Exception:
    if isinstance(error, NoRegionError):
        return BraketError("no region is configured; name one with region=")

    return translate(error, service)
