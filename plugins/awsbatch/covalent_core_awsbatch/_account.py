"""An account and region of AWS, shared by all executors that reach it in the same way."""

from __future__ import annotations

import asyncio
import time
from weakref import WeakKeyDictionary

from covalent_core_awsbatch._arrays import Arrays
from covalent_core_awsbatch._cancels import Cancels
from covalent_core_awsbatch._definitions import Definitions
from covalent_core_awsbatch._links import Links
from covalent_core_awsbatch._looks import BatchWatch, JobFilesWatch
from covalent_core_awsbatch._objects import Objects
from covalent_core_awsbatch._queues import Queues
from covalent_core_awsbatch._releases import Releases
from covalent_core_awsbatch._service import Access, Service
from covalent_core_awsbatch._silence import Silences

#: Those in use, by the event loop that they belong to and by how they are reached.
_accounts: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Access, float], Account]] = WeakKeyDictionary()


class Account:
    """One poll, one line of orders and one set of clients for all jobs of an account.

    Args:
        poll_freq: The longest time, in seconds, between two looks at a job.
    """

    def __init__(self, access: Access, poll_freq: float) -> None:
        self.service = Service(access)
        self.objects = Objects(self.service)
        self.definitions = Definitions(self.service)
        self.queues = Queues(self.service)
        self.arrays = Arrays(self.objects)
        self.batch = BatchWatch(self.service, poll_freq)
        self.files = JobFilesWatch(self.objects)
        self.cancels = Cancels(self.service)
        self.releases = Releases(self.objects, self.arrays)
        self.silences = Silences()
        self._renew_at: dict[str, float] = {}
        self.users = 0

    @property
    def links(self) -> Links:
        """What makes presigned links, with the credentials that there are now."""
        return Links(self.objects, self.service.credentials)

    def note_links(self, location: str) -> None:
        """Know that the links of a job were made now."""
        self._renew_at[location] = time.monotonic() + self.links.seconds() / 2

    def are_links_due(self, location: str) -> bool:
        """Return whether half of the time of the links of a job is over; a dispatcher that comes later takes it so."""
        return time.monotonic() > self._renew_at.get(location, 0.0)

    def forget(self, location: str) -> None:
        """Know that a job is released."""
        self._renew_at.pop(location, None)
        self.silences.forget(location)

    def close(self) -> None:
        """Look no more."""
        self.batch.close()
        self.files.close()


def join(access: Access, poll_freq: float) -> Account:
    """Return the account that is reached in this way, until who joined leaves it."""
    accounts = _accounts.setdefault(asyncio.get_running_loop(), {})
    account = accounts.setdefault((access, poll_freq), Account(access, poll_freq))
    account.users += 1
    return account


def leave(account: Account) -> None:
    """Use an account no more; the last one closes it."""
    account.users -= 1

    if not account.users:
        accounts = _accounts[asyncio.get_running_loop()]

        for key in [key for key, value in accounts.items() if value is account]:
            del accounts[key]

        account.close()
