"""AWS as one account and region shows it: clients, and calls that block, made in threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import Any, TypeVar

import boto3
import botocore.session
from anyio import CapacityLimiter, to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from covalent_core_awsbatch._answers import translated

T = TypeVar("T")

#: How many calls of each kind are made at once. Those that end jobs never wait for those that submit them.
CALLS, ENDING_CALLS = 16, 8


@dataclass(frozen=True)
class Access:
    """How an account is reached. What is None is as boto3 finds it.

    Attributes:
        credentials: A file with credentials, instead of ``~/.aws/credentials``.
        answer_seconds: How long an answer may take.
    """

    credentials: str | None = None
    profile: str | None = None
    region: str | None = None
    answer_seconds: float = 30.0


class Service:
    """The clients of one account and region.

    Attributes:
        counts: How often each operation was called.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._calls = CapacityLimiter(CALLS)
        self._ending = CapacityLimiter(ENDING_CALLS)
        self._making = Lock()
        self.counts: Counter[str] = Counter()

    @cached_property
    def session(self) -> Any:
        """The session of boto3, with all that its own configuration says."""
        core = botocore.session.Session(profile=self._access.profile)

        if self._access.credentials is not None:
            core.set_config_variable("credentials_file", self._access.credentials)

        return boto3.Session(botocore_session=core, region_name=self._access.region)

    @cached_property
    def once(self) -> Any:
        """The client for what must not be sent twice, or has pauses of its own: it sends a request once."""
        return self._client("batch", retries={"total_max_attempts": 1, "mode": "standard"})

    @cached_property
    def batch(self) -> Any:
        """The client for what may be sent again."""
        return self._client("batch", retries={"total_max_attempts": 4, "mode": "adaptive"})

    @cached_property
    def logs(self) -> Any:
        return self._client("logs", retries={"total_max_attempts": 3, "mode": "standard"})

    @cached_property
    def s3(self) -> Any:
        """The client for objects."""
        return self._s3()

    def s3_with(self, frozen: Any) -> Any:
        """Return a client for objects whose credentials stay these."""
        return self._s3(
            aws_access_key_id=frozen.access_key,
            aws_secret_access_key=frozen.secret_key,
            aws_session_token=frozen.token,
        )

    @cached_property
    def identity(self) -> dict[str, str]:
        """Whose credentials these are: ``Account`` and ``Arn``."""
        answer: dict[str, str] = self._client("sts").get_caller_identity()
        return answer

    @property
    def credentials(self) -> Any:
        """Those of the session, as botocore keeps them.

        Raises:
            BatchRefusedError: There are none.
        """
        if (found := self.session.get_credentials()) is None:
            raise translated(NoCredentialsError(), "what a job needs")

        return found

    @property
    def region(self) -> str:
        return str(self.s3.meta.region_name)

    async def call(self, method: Callable[..., T], asked: str, *, changes: bool = False, **arguments: Any) -> T:
        """Return what a call gives.

        Args:
            asked: What is asked, for the error.
            changes: Whether it must not be taken for not done where no answer comes.

        Raises:
            BatchError: It has not been answered, or the answer was no.
        """
        return await self.run(partial(method, **arguments), asked, changes=changes)

    async def run(self, operation: Callable[[], T], asked: str, *, changes: bool = False, ending: bool = False) -> T:
        """Return what something that blocks gives, as `call` does.

        Args:
            ending: Whether it is to end something.
        """
        self.counts[asked.partition(" ")[0]] += 1

        try:
            return await to_thread.run_sync(operation, limiter=self._ending if ending else self._calls)
        except (ClientError, BotoCoreError, OSError) as error:
            raise translated(error, asked, changes=changes) from error

    def _s3(self, **credentials: Any) -> Any:
        # What is signed beforehand cannot have the checksum of what comes later.
        return self._client(
            "s3",
            credentials,
            retries={"total_max_attempts": 5, "mode": "standard"},
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

    def _client(self, name: str, credentials: Mapping[str, Any] | None = None, **settings: Any) -> Any:
        seconds = self._access.answer_seconds
        config = Config(connect_timeout=min(10.0, seconds), read_timeout=seconds, max_pool_connections=32, **settings)

        # A session makes one client at a time.
        with self._making:
            return self.session.client(name, config=config, **credentials or {})
