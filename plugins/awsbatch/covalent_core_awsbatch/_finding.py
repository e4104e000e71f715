"""What has become of an order to submit a job whose answer was lost: the owner of the job decides, not a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from covalent_core import Job, Perhaps
from covalent_core.backend import NOBODY
from covalent_core_awsbatch._account import Account
from covalent_core_awsbatch._arrays import ARRAY
from covalent_core_awsbatch._objects import OWNER, Folder, Seen, by_folder
from covalent_core_awsbatch._start import NAME
from covalent_core_awsbatch._submissions import job_name


class Placed(NamedTuple):
    """Where a job stands in an order that may have been given.

    Attributes:
        name: What its job, or the array that it is in, is called at AWS.
        place: Its place in the array; None if it is in none.
        order: The number of the order.
    """

    name: str
    place: int | None
    order: int

    def handle(self, job_id: str) -> str:
        """Return the job handle."""
        return job_id if self.place is None else f"{job_id}:{self.place}"


class Finding:
    """Finds the jobs of an executor.

    Attributes:
        void_orders: By ticket, how many orders to submit a job are void.
    """

    def __init__(self, account: Account, queue: str) -> None:
        self._account = account
        self._queue = queue
        self.void_orders: dict[str, int] = {}

    async def find(self, job: Job, folder: Folder) -> str | Perhaps | None:
        """Return the handle of a job, None if nothing will come of the order, or that it is not known.

        Raises:
            BatchError: It could not be asked.
        """
        listed = by_folder(await self._account.objects.list(folder.bucket, folder.siblings), folder.siblings)
        placed = await self._placed(folder, listed)

        if placed is not None and not job.cancel_requested and (found := await self._listed(placed)):
            return found

        order = placed.order if placed is not None else 0

        if job.barred:
            owner = await self._account.objects.bar(folder, order)
        else:
            owner = await self._owner(folder, order, listed.get(folder.name, {}))

        if owner not in (None, NOBODY):
            return owner

        if placed is None:
            return None

        if owner is None and not job.barred:
            return Perhaps(f"SubmitJob was called for {placed.name}, and its queue {self._queue} does not list it yet")

        self.void_orders[job.ticket] = order + 1
        # It cannot begin, but it may be there: then it is to be ended.
        return await self._listed(placed) if job.cancel_requested else None

    async def bar(self, folder: Folder) -> None:
        """See to it that no job begins whose files stay."""
        listed = by_folder(await self._account.objects.list(folder.bucket, folder.siblings), folder.siblings)
        placed = await self._placed(folder, listed)
        await self._account.objects.bar(folder, placed.order if placed is not None else 0)

    async def _owner(self, folder: Folder, order: int, names: Mapping[str, Seen]) -> str | None:
        name = f"{OWNER}{order}"
        return (await self._account.objects.get(folder, name)).decode().split()[0] if name in names else None

    async def _placed(self, folder: Folder, listed: Mapping[str, Mapping[str, Seen]]) -> Placed | None:
        """Return the last order with this job in it that may have been given."""
        found = []

        for name in [
            name for name, files in listed.items() if NAME in files and (ARRAY in name or name == folder.name)
        ]:
            place, order = (await self._account.arrays.members(folder.beside(name))).get(folder.name, (-1, -1))

            if order >= 0:
                single = name == folder.name
                found.append(Placed(job_name(name, order) if single else name, None if single else place, order))

        return max(found, key=lambda placed: placed.order, default=None)

    async def _listed(self, placed: Placed) -> str | None:
        """Return the handle of a job if its queue lists it."""
        batch = self._account.service.batch

        def jobs() -> list[str]:
            filters = [{"name": "JOB_NAME", "values": [placed.name]}]
            pages = batch.get_paginator("list_jobs").paginate(jobQueue=self._queue, filters=filters)
            # AWS compares without regard to case, and with a prefix too.
            return [job["jobId"] for page in pages for job in page["jobSummaryList"] if job["jobName"] == placed.name]

        found = [
            job_id
            for job_id in await self._account.service.run(jobs, f"ListJobs of {placed.name}")
            if ":" not in job_id
        ]
        return placed.handle(found[0]) if found else None
