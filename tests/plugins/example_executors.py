"""Two executors as strangers would write them: one whose hooks all block, and one that misbehaves as it is told."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from anyio import open_process, sleep
from covalent_core_nice import NiceExecutor

from covalent_core import Job, TaskCancelledError, hookimpl
from covalent_core.backend import ProcessHandle
from covalent_core.errors import JobEndedError


@dataclass
class FolderExecutor(NiceExecutor):
    """The example of the documentation, all of whose hooks block, as with an SDK that knows no async."""

    cancel_members = None

    @hookimpl
    def run(self, job_handle: str) -> None:
        while ProcessHandle.parse(job_handle).is_alive():
            time.sleep(0.01)

    @hookimpl
    def cancel(self, job_handle: str) -> None:
        ProcessHandle.parse(job_handle).signal(signal.SIGTERM)
        self.run(job_handle)


@dataclass
class ScriptedExecutor:
    """Run each job in a folder, write down every call, and fail where `faults` says so, as often as it says."""

    workdir: str
    faults: dict[str, int]
    max_workers: int = 4

    async def __aenter__(self) -> ScriptedExecutor:
        self._note("enter")
        self._fail("enter")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._note("exit")

    @hookimpl
    async def upload(self, job: Job, payload: bytes) -> str | None:
        self._note("upload")

        if self._takes("upload-cancels"):
            raise TaskCancelledError("the quota is used up")

        folder = Path(self.workdir, job.ticket)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bundle.pyz").write_bytes(payload)
        return None if self._takes("upload-none") else str(folder)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str:
        self._note("provision")
        process = await open_process([sys.executable, "bundle.pyz"], cwd=location, start_new_session=True, stderr=None)
        Path(location, "pid").write_text(str(process.pid))
        return str(process.pid)

    @hookimpl
    async def run(self, job: Job, location: str) -> None:
        self._note("run")
        job.report_progress(1, 2)

        for fault, retry in (("run-ends-once", True), ("run-ends-always", False)):
            if self._takes(fault):
                raise JobEndedError("the backend has ended the job", retry=retry)

        while not list(Path(location, "results").glob("*.ended")):
            await sleep(0.01)

    @hookimpl
    async def fetch(self, location: str) -> str:
        self._note("fetch")
        return f"{location}/results"

    @hookimpl
    async def cancel(self, task_metadata: dict[str, object], job_handle: str) -> None:
        self._note(f"cancel {sorted(task_metadata)}")

        try:
            os.kill(int(job_handle), signal.SIGTERM)
        except ProcessLookupError:
            return

        while Path(f"/proc/{job_handle}").exists():
            await sleep(0.01)

    @hookimpl
    async def find(self, location: str) -> str | None:
        self._note("find")
        pid = Path(location, "pid")
        return pid.read_text() if pid.exists() else None

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        self._note(f"release {location is not None}")
        shutil.rmtree(Path(self.workdir, job.ticket), ignore_errors=True)

    def _note(self, call: str) -> None:
        with open(Path(self.workdir, "calls"), "a") as file:
            file.write(f"{call}\n")

    def _fail(self, point: str) -> None:
        if self._takes(point):
            raise ConnectionError(f"the backend is unreachable ({point})")

    def _takes(self, point: str) -> bool:
        left = self.faults.get(point, 0)
        self.faults[point] = left - 1
        return left > 0
