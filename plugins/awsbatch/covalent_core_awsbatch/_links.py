"""Presigned links: what a job without a role may do, and for how long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import to_thread

from covalent_core_awsbatch._objects import OWNER, Folder
from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch.errors import BatchRefusedError

#: The longest time, in seconds, for which S3 takes a link.
LONGEST = 7 * 24 * 3600

#: For how long credentials are taken to be good that do not say it: those of a login that stand in the environment.
UNKNOWN = 3600

#: A link must be good for at least so many seconds.
SHORTEST = 5


@dataclass(frozen=True)
class Signer:
    """What signs links.

    Attributes:
        client: A client of boto3 whose credentials stay the same.
        made: When these were taken, in seconds since 1970.
        ends: When they are no longer good.
    """

    client: Any
    made: float
    ends: float

    @property
    def is_young(self) -> bool:
        """Whether less than half of the time is over."""
        return time.time() < self.made + (self.ends - self.made) / 2

    @property
    def seconds(self) -> int:
        """How long a link is good for that is made now."""
        return int(self.ends - time.time())

    def link(self, method: str, folder: Folder, name: str, *, once: bool = False) -> str:
        """Return a link.

        Args:
            method: ``get_object``, ``put_object`` or ``delete_object``.
            once: Whether it may write only where nothing is.
        """
        arguments = {"Bucket": folder.bucket, "Key": folder.key(name), **({"IfNoneMatch": "*"} if once else {})}
        # A link dies with the credentials that have signed it, whatever it says of itself.
        return str(self.client.generate_presigned_url(method, Params=arguments, ExpiresIn=self.seconds))


class Links:
    """Makes the links of jobs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._signer: Signer | None = None
        self._renew_at: dict[str, float] = {}

    async def to_start(self, folder: Folder, name: str) -> tuple[str, int]:
        """Return the link by which a job gets its agent, or its other links, and how long it is good for.

        Raises:
            BatchRefusedError: The credentials are at their end.
        """
        signer = await to_thread.run_sync(self._sign)
        return await to_thread.run_sync(signer.link, "get_object", folder, name), signer.seconds

    async def of_job(self, folder: Folder, orders: Iterable[int], node_ids: Sequence[int]) -> bytes:
        """Return all that a job needs, as the object ``links`` of its folder.

        Args:
            orders: Those of which a job may still come.

        Raises:
            BatchRefusedError: The credentials are at their end.
        """
        signer = await to_thread.run_sync(self._sign)
        self._renew_at[str(folder)] = time.time() + signer.seconds / 2
        return await to_thread.run_sync(_of_job, signer, folder, orders, node_ids)

    def are_due(self, folder: Folder) -> bool:
        """Return whether half of the time of the links of a job is over; a dispatcher that comes later takes it so."""
        return time.time() > self._renew_at.get(str(folder), 0.0)

    def forget(self, folder: Folder) -> None:
        """Know that a job needs no links any more."""
        self._renew_at.pop(str(folder), None)

    def _sign(self) -> Signer:
        if self._signer is None or not self._signer.is_young:
            self._signer = self._new_signer()

        if self._signer.seconds < SHORTEST:
            raise BatchRefusedError(
                "the credentials end now, and so would the links by which a job without a role gets its files; "
                "log in again, or set batch_job_role_name"
            )

        return self._signer

    def _new_signer(self) -> Signer:
        credentials, now = self._service.credentials, time.time()
        # Whoever signs a thousand links does not want the credentials to be fetched for each of them.
        frozen = credentials.get_frozen_credentials()
        ends = getattr(credentials, "_expiry_time", None)
        longest = UNKNOWN if frozen.token else LONGEST
        seconds = longest if ends is None else min(LONGEST, ends.timestamp() - now)
        return Signer(self._service.s3_with(frozen), now, now + seconds)


def _of_job(signer: Signer, folder: Folder, orders: Iterable[int], node_ids: Sequence[int]) -> bytes:
    owners = [f"{OWNER}{order}" for order in orders]
    results = ["ended", "beat", "task.stdout", "task.stderr"]
    results += [f"{node_id}.{kind}" for node_id in node_ids for kind in ("outcome", "value")]
    link = partial(signer.link, folder=folder)
    links = {f"GET {name}": link("get_object", name=name) for name in ("bundle.pyz", "orders", "links", *owners)}
    links |= {f"PUT results/{name}": link("put_object", name=f"results/{name}") for name in results}
    links |= {f"PUT {name}": link("put_object", name=name, once=True) for name in owners}
    links |= {f"DELETE {name}": link("delete_object", name=name) for name in owners}
    return json.dumps(links).encode()
