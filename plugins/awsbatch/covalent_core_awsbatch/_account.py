"""An account and region of AWS, shared by all executors that reach it in the same way."""

from __future__ import annotations

from covalent_core.backend import Shared
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

    def forget(self, folder: Folder) -> None:
        """Know that a job is released."""
        self.arrays.forget(folder)
        self.links.forget(folder)
        self.silences.forget(str(folder))

    def close(self) -> None:
        """Look no more."""
        self.batch.close()
        self.files.close()


#: Those in use.
accounts = Shared(Account, Account.close)
