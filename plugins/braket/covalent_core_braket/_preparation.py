"""What comes before a quantum task: the function of the electron runs here and leaves what is to be sent."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio import CancelScope, get_cancelled_exc_class, sleep, to_thread

from covalent_core import Job
from covalent_core.backend import ENDED, FOLDER, LEASE, OUTCOME, Claim, read_outcome
from covalent_core_braket._processes import Processes
from covalent_core_braket.errors import BraketError

#: Seconds after which a function ends whose dispatcher has died; the next one begins again.
LEASE_SECONDS = 10

#: What has ended a function that a dispatcher has left behind.
BROKEN_OFF = ("lease", "told")


class Preparation:
    """The folder of a job on this machine: its function, the bodies of its requests, and what was made of these."""

    def __init__(self, processes: Processes, job: Job, location: str | None = None) -> None:
        self._processes = processes
        self._job = job
        self.location = location or processes.files.location(job)
        self._folder = Path(self.location)

    async def make(self, payload: bytes | memoryview, options: dict[str, Any]) -> str:
        """Run the function, and return the location when it has ended; who is interrupted ends it.

        Args:
            options: What is made of the circuits that it returns: the arguments of `programs.bodies_of`.
        """
        # What was begun before and has not come to its own end is begun again: nothing was sent then.
        if not self._has_ended:
            await self.remove()
            await to_thread.run_sync(self._processes.files.upload, self._job, payload)
            (self._folder / "options.json").write_text(json.dumps(options))
            await self._run()

        return self.location

    @property
    def _has_ended(self) -> bool:
        ended = os.path.lexists(self._folder / FOLDER / f"{self._job.ticket}{ENDED}")
        return ended and read_outcome(self.outcome_file).ended_by not in BROKEN_OFF

    async def _run(self) -> None:
        process = await self._processes.start(self._job, self.location, "--lease", str(LEASE_SECONDS))
        touching = asyncio.create_task(self._touch())

        try:
            await process.wait()
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._processes.end(self._job, self.location, process)

            raise
        finally:
            touching.cancel()

        if not self.outcome_file.exists():
            log = (self._folder / "log").read_text(errors="replace")[-1000:]
            raise BraketError(f"the process of the function has left no outcome; it wrote: {log or 'nothing'}")

    async def _touch(self) -> None:
        lease = self._folder / FOLDER / f"{self._job.ticket}{LEASE}"

        while True:
            with suppress(FileNotFoundError):
                os.utime(lease)

            await sleep(LEASE_SECONDS / 10)

    async def remove(self) -> None:
        """End what runs, and remove all that is there."""
        if not self._folder.exists():
            return

        self.bar()

        if (process := await self._processes.find(self._job, self.location, bar=True)) is not None:
            await self._processes.end(self._job, self.location, process)

        await to_thread.run_sync(lambda: shutil.rmtree(self._folder, ignore_errors=True))

    # --- what the function has left ----------------------------------------------------------------------------------

    @property
    def outcome_file(self) -> Path:
        return self._folder / FOLDER / f"{self._job.ticket}.{self._job.node_ids[0]}{OUTCOME}"

    @property
    def has_programs(self) -> bool:
        """Whether there is something to be sent: not where the function has failed, or has built a sublattice."""
        return (self._folder / "bodies.json").exists() and read_outcome(self.outcome_file).status == "COMPLETED"

    @property
    def count(self) -> int:
        """How many quantum tasks it takes."""
        return len(self.bodies()["bodies"])

    @property
    def is_set(self) -> bool:
        """Whether it is a program set, of which a part may be done where another has failed."""
        return bool(self.bodies()["set"])

    def bodies(self) -> dict[str, Any]:
        """Return what is to be sent."""
        found: dict[str, Any] = json.loads((self._folder / "bodies.json").read_bytes())
        return found

    # --- what has been made of it ------------------------------------------------------------------------------------

    def note_asked(self) -> None:
        """Note that requests are made.

        Raises:
            BraketError: None must be made any more.
        """
        if not self._folder.exists() or os.path.lexists(self._folder / "barred"):
            raise BraketError(f"{self._job.ticket} was released or cancelled: nothing may begin under this name")

        (self._folder / "asked").touch()

    def forget_asked(self) -> None:
        """Note that the answer was no: nothing is on its way."""
        (self._folder / "asked").unlink(missing_ok=True)

    def seconds_since_asked(self, now: float) -> float | None:
        """Return how long ago requests were made the last time, None if none were."""
        try:
            return max(0.0, now - (self._folder / "asked").stat().st_mtime)
        except FileNotFoundError:
            return None

    def bar(self) -> None:
        """Let no request be made any more."""
        if self._folder.exists():
            Claim.by_link(self._folder / "barred").bar()

    def note_arn(self, place: int, arn: str) -> None:
        """Note what a request has been answered with."""
        part = self._folder / f"task-{place}.part"
        part.write_text(arn)
        part.rename(self._folder / f"task-{place}")

    def arns(self) -> list[str]:
        """Return all that were noted."""
        with suppress(FileNotFoundError):
            return [arn for arn in map(self.arn, range(self.count)) if arn is not None]

        return []

    def arn(self, place: int) -> str | None:
        """Return what was noted."""
        with suppress(FileNotFoundError):
            return (self._folder / f"task-{place}").read_text()

        return None
