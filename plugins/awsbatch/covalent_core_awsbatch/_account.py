"""An account and region of AWS, shared by all executors that reach it in the same way."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from covalent_core_awsbatch._arrays import Arrays
from covalent_core_awsbatch._cancels import Cancels
from covalent_core_awsbatch._definitions import Definitions
from covalent_core_awsbatch._links import Links
from covalent_core_awsbatch._looks import BatchWatch, JobFilesWatch
from covalent_core_awsbatch._objects import Folder, Objects
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
        self.links = Links(self.service)
        self.users = 0

    def forget(self, folder: Folder) -> None:
        """Know that a job is released."""
        self.arrays.forget(folder)
        self.links.forget(folder)
        self.silences.forget(str(folder))

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
