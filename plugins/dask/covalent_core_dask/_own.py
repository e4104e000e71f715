"""A scheduler and a worker in this process: what they run are guardians, and nobody else reaches them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from distributed import Scheduler, Worker


class _Unseen:
    """Opens no port: also without a dashboard there would be one for pages about health and metrics."""

    def start_http_server(self, *arguments: object, **options: object) -> None:
        """Listen nowhere."""


class OwnScheduler(_Unseen, Scheduler):  # type: ignore[misc]
    """A scheduler that only this process reaches."""


class OwnWorker(_Unseen, Worker):  # type: ignore[misc]
    """A worker that only this process reaches."""


@asynccontextmanager
async def own_cluster(threads: int) -> AsyncIterator[str]:
    """Give the address of a scheduler of this process; its worker runs so many tasks at once."""
    with tempfile.TemporaryDirectory(prefix="covalent-core-dask-", ignore_cleanup_errors=True) as folder:
        async with OwnScheduler(protocol="inproc", dashboard=False) as scheduler:
            options = {"nthreads": threads, "memory_limit": 0, "dashboard": False, "local_directory": folder}
            worker = await OwnWorker(scheduler.address, **options)

            try:
                yield scheduler.address
            finally:
                # Its guardians wait for jobs that go on.
                await worker.close(executor_wait=False)
