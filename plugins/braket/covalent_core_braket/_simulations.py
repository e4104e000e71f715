"""Circuits on the simulators that Amazon's SDK brings along, in processes of this machine."""

from __future__ import annotations

from anyio import to_thread

from covalent_core import Job, Perhaps, Results
from covalent_core.backend import ProcessHandle
from covalent_core_braket import _pickles
from covalent_core_braket._processes import Processes


class Simulations:
    """Each job is a process that calls its functions and runs the circuits which they return.

    Args:
        device: The simulator, as Braket calls it: ``local:braket/braket_sv``.
    """

    def __init__(self, processes: Processes, device: str, shots: int, *, keep: bool) -> None:
        self._processes = processes
        self._files = processes.files
        self._options = {"device": device, "shots": shots}
        self._keep = keep

    def prepare(self, job: Job) -> None:
        _pickles.wrap(job, "Simulated", self._options)

    async def upload(self, job: Job, payload: bytes | memoryview) -> str:
        return await to_thread.run_sync(self._files.upload, job, payload)

    async def provision(self, job: Job, location: str) -> str:
        return str(await self._processes.start(job, location))

    async def run(self, job: Job, location: str, job_handle: str) -> None:
        async with self._files.following(job, location):
            await ProcessHandle.parse(job_handle).wait()

    async def fetch(self, job: Job, location: str, job_handle: str) -> Results:
        return self._files.fetch(location)

    async def cancel(self, job: Job, location: str, job_handle: str) -> Results | None:
        await self._processes.end(job, location, ProcessHandle.parse(job_handle))
        return None

    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results:
        over = ProcessHandle.parse(job_handle).wait()
        return await self._files.cancel_members(job, location, node_ids, over)

    async def find(self, job: Job, location: str) -> str | Perhaps | None:
        found = await self._processes.find(job, location, bar=job.barred)
        return None if found is None else str(found)

    async def release(self, job: Job, location: str | None) -> None:
        await to_thread.run_sync(lambda: self._files.release(job, location, keep=self._keep))

    def close(self) -> None:
        pass
