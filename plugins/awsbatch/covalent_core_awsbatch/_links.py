"""Presigned links: what a job without a role may do, and for how long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from covalent_core_awsbatch._objects import OWNER, Folder, Objects
from covalent_core_awsbatch.errors import BatchRefusedError

#: The longest time, in seconds, for which S3 takes a link.
LONGEST = 7 * 24 * 3600

#: For how long credentials are taken to be good that do not say it: those of a login that stand in the environment.
UNKNOWN = 3600

#: A link must be good for at least so many seconds.
SHORTEST = 5


def seconds_left(credentials: Any) -> float:
    """Return how long what these credentials sign now is good for.

    Args:
        credentials: Those of a session of botocore.
    """
    ends = getattr(credentials, "_expiry_time", None)

    if ends is not None:
        return min(LONGEST, float(ends.timestamp()) - time.time())

    # A link dies with the credentials that have signed it, whatever it says of itself.
    return UNKNOWN if credentials.get_frozen_credentials().token else LONGEST


class Links:
    """Makes the links of jobs.

    Args:
        credentials: Those that sign.
    """

    def __init__(self, objects: Objects, credentials: Any) -> None:
        self._objects = objects
        self._credentials = credentials

    def seconds(self) -> int:
        """Return how long a link is good for that is made now.

        Raises:
            BatchRefusedError: Not at all: the credentials are at their end.
        """
        seconds = int(seconds_left(self._credentials))

        if seconds < SHORTEST:
            raise BatchRefusedError(
                "the credentials end now, and so would the links by which a job without a role gets its files; "
                "log in again, or set batch_job_role_name"
            )

        return seconds

    def to_start(self, folder: Folder, name: str) -> str:
        """Return the link by which a job gets its agent, and by that all others."""
        return self._objects.link("get_object", folder, name, self.seconds())

    def of_job(self, folder: Folder, orders: Iterable[int], node_ids: Sequence[int]) -> bytes:
        """Return all that a job needs, as the object ``links`` of its folder.

        Args:
            orders: Those of which a job may still come.
        """
        seconds = self.seconds()
        owners = [f"{OWNER}{order}" for order in orders]
        results = ["ended", "beat", "task.stdout", "task.stderr"]
        results += [f"{node_id}.{kind}" for node_id in node_ids for kind in ("outcome", "value")]
        link = partial(self._objects.link, folder=folder, seconds=seconds)
        links = {f"GET {name}": link("get_object", name=name) for name in ("bundle.pyz", "orders", "links", *owners)}
        links |= {f"PUT results/{name}": link("put_object", name=f"results/{name}") for name in results}
        links |= {f"PUT {name}": link("put_object", name=name, once=True) for name in owners}
        links |= {f"DELETE {name}": link("delete_object", name=name) for name in owners}
        return json.dumps(links).encode()
