"""An executor whose backend is silent, busy or odd as a test tells it, at any moment, by files in a folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from anyio import open_process, sleep

from covalent_core import Job, Perhaps, Usage, hookimpl
from covalent_core.errors import BackendUnreachableError, NotNow


@dataclass
class SilentExecutor:
    """Run each job in a folder. The file ``<hook>`` has a line for each call to come that is not to go well.

    A line is one of: ``unreachable``, ``refused``, ``perhaps``, ``true``, ``lost`` (it is done, and raises), ``none``,
    ``block SECONDS``, ``words TEXT``, ``usage TEXT`` (as the store keeps it); the last line of a file that ends with
    ``...`` holds for all further calls.

    Attributes:
        room: How many jobs the backend takes at once; more are told "not now".
        together: Whether `provision` waits for the jobs of its dispatch that are still coming.
    """

    folder: str
    room: int = 1000
    together: bool = False

    @hookimpl
    async def upload(self, job: Job, payload: bytes) -> str:
        self._meet("upload", job)
        location = Path(self.folder, job.ticket)
        location.mkdir(parents=True, exist_ok=True)
        (location / "bundle.pyz").write_bytes(payload)
        return str(location)

    @hookimpl
    async def provision(self, job: Job, location: str) -> str | None:
        while self.together and job.siblings_coming:
            await sleep(0.001)

        if len(self._alive()) >= self.room:
            self._note("provision is told not now", job)
            raise NotNow(f"{self.room} jobs are enough", retry_after=0.2)

        fault = self._meet("provision", job)
        process = await open_process([sys.executable, "bundle.pyz"], cwd=location, start_new_session=True)
        Path(location, "pid").write_text(str(process.pid))

        if fault == "lost":
            raise ConnectionError("the answer was lost")

        return None if fault == "none" else str(process.pid)

    @hookimpl
    async def run(self, job: Job, location: str) -> str:
        fault = self._meet("run", job)

        if fault.startswith("block"):
            time.sleep(float(fault.split()[1]))

        while not fault.startswith("words") and not list(Path(location, "results").glob("*.ended")):
            await sleep(0.01)

        return fault.partition(" ")[2]

    @hookimpl
    async def fetch(self, job: Job, location: str) -> str:
        self._meet("fetch", job)
        return f"{location}/results"

    @hookimpl
    async def cancel(self, job: Job, job_handle: str) -> None:
        self._meet("cancel", job)
        self._end(int(job_handle))

        while Path(f"/proc/{job_handle}").exists():
            await sleep(0.01)

    @hookimpl
    async def find(self, job: Job, location: str) -> str | Perhaps | bool | None:
        fault = self._meet(f"find{' barred' if job.barred else ''}", job)

        if fault == "perhaps":
            return Perhaps("the queue is read again soon")

        if fault == "true":
            return True

        pid = Path(location, "pid")
        return pid.read_text() if pid.exists() else None

    @hookimpl
    async def release(self, job: Job, location: str | None) -> None:
        self._meet("release", job)

        if location is not None:
            Path(location, "bundle.pyz").unlink()

    def _meet(self, hook: str, job: Job) -> str:
        """Note a call, and raise or return what is odd about it."""
        self._note(hook, job)
        fault = self._next(Path(self.folder, hook.split()[0]))

        if fault in ("unreachable", "refused"):
            raise BackendUnreachableError(f"no answer to {hook}", refused=fault == "refused")

        if fault.startswith("usage "):
            job.report_usage(Usage.of_text(fault.removeprefix("usage ")))

        return fault

    def _next(self, file: Path) -> str:
        lines = file.read_text().splitlines() if file.exists() else []

        if lines[1:] != ["..."]:
            file.write_text("\n".join(lines[1:]))

        return lines[0] if lines else ""

    def _note(self, call: str, job: Job) -> None:
        with open(Path(self.folder, "calls"), "a") as file:
            file.write(f"{call} {job.ticket}\n")

    def _alive(self) -> list[str]:
        pids = [file.read_text() for file in Path(self.folder).glob("*/pid") if (file.parent / "bundle.pyz").exists()]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def _end(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
