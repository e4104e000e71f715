"""A backend that lives in the memory of the test, so that it survives what happens to dispatchers, and its executor."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import get_cancelled_exc_class, sleep
from model import must

from covalent_core import Job, TaskCancelledError, hookimpl

if TYPE_CHECKING:
    from world import World

#: How long a call of the backend takes; one that is slow; one that never answers. Seconds of the world's clock.
USUAL, SLOW, NEVER = 0.01, 3.0, 1e9

#: What can be odd about a node, each as often as it is drawn.
ENDS_IT = ("pickle raises", "upload raises", "provision refuses", "run loses", "fetch raises")
FAILS = ("task fails", "no outcome")
ABORTS = ("upload aborts", "provision aborts", "fetch aborts")
ODDITIES = (*ENDS_IT, *FAILS, *ABORTS, "provision loses its answer", "provision refuses late", "task hangs")
ODDITIES += tuple(f"{hook} raises" for hook in ("cancel", "find", "release"))
ODDITIES += tuple(f"{h} {how}" for h in ("upload", "provision", "run", "fetch", "cancel") for how in ("slow", "hangs"))
ODDITIES += ("task slow", "find slow", "release slow", "release hangs", "cancel ends it but raises", "pickle slow")


@dataclass
class Submission:
    """A job as the backend knows it. What it will do is settled when it is asked for; when it is now tells the rest."""

    ticket: str
    handle: str
    node_ids: list[int]
    accepted: float
    ends: float
    outcomes: dict[int, str]
    killed: bool = False

    def state(self, node_id: int, now: float) -> str:
        return "killed" if self.killed else "alive" if now < self.ends else self.outcomes[node_id]


@dataclass
class Backend:
    """Submissions and files. Like a batch system, it runs what it is given twice twice."""

    submissions: list[Submission] = field(default_factory=list)
    #: By ticket whether all is there that was to be uploaded.
    files: dict[str, bool] = field(default_factory=dict)

    def submit(self, world: World, job: Job, delay: float) -> Submission:
        seconds = SLOW if world.odd(job, "task slow") else NEVER if world.odd(job, "task hangs") else USUAL
        outcomes = {n: "FAILED" if world.odd(job, "task fails") else "COMPLETED" for n in job.node_ids}
        accepted = world.now + delay
        handle = f"{job.ticket}/{len(self.submissions)}"
        submission = Submission(job.ticket, handle, job.node_ids, accepted, accepted + seconds, outcomes)
        self.submissions.append(submission)
        return submission

    def under(self, ticket: str) -> Submission | None:
        found = [submission for submission in self.submissions if submission.ticket == ticket]
        return found[-1] if found else None

    def runs(self, now: float) -> dict[int, list[str]]:
        """Return by node how each of its runs stands: alive, killed, or the outcome it came to by itself."""
        found: dict[int, list[str]] = defaultdict(list)

        for submission in self.submissions:
            if submission.accepted <= now:
                for node_id in submission.node_ids:
                    found[node_id].append(submission.state(node_id, now))

        return found

    def of(self, handle: str) -> Submission:
        (found,) = [submission for submission in self.submissions if submission.handle == handle]
        return found


class SimulatedExecutor:
    """Ask the backend of the current world, and do not get an answer where the world has drawn that."""

    world: World

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = max_workers

    @hookimpl
    async def pickle(self, job: Job) -> bytes:
        await self._pass("pickle", job)
        return b"payload"

    @hookimpl
    async def upload(self, job: Job) -> str:
        self.world.called("upload", job)
        self.world.backend.files[job.ticket] = False
        await self._take("upload", job)
        self.world.backend.files[job.ticket] = True
        return f"/{job.ticket}"

    @hookimpl
    async def provision(self, job: Job) -> str:
        world = self.world
        world.called("provision", job)
        world.checked(must, world.backend.files.get(job.ticket), f"{job.ticket} is provisioned and not uploaded")

        if world.odd(job, "provision refuses"):
            raise ConnectionError("the backend refuses the job")

        if world.odd(job, "provision aborts"):
            raise TaskCancelledError("the quota is used up")

        delay, began = SLOW if world.odd(job, "provision slow") else USUAL, world.now
        submission = world.backend.submit(world, job, delay)

        try:
            await sleep(delay)
            world.point("the backend accepts")
            await sleep(NEVER if world.odd(job, "provision hangs") else USUAL)
            world.point("provision answers")
        except get_cancelled_exc_class():
            world.interrupted(job, began)
            raise

        if world.odd(job, "provision loses its answer"):
            raise ConnectionError("the answer is lost")

        return submission.handle

    @hookimpl
    async def run(self, job: Job, job_handle: str) -> None:
        await self._pass("run", job)
        submission = self.world.backend.of(job_handle)

        if self.world.odd(job, "run loses"):
            raise ConnectionError("the backend does not know the job any more")

        await sleep(max(0.0, submission.ends - self.world.now))
        self.world.point("run answers")

    @hookimpl
    async def fetch(self, job: Job, job_handle: str) -> Path:
        await self._pass("fetch", job)
        submission = self.world.backend.of(job_handle)

        for node_id in job.node_ids:
            self._leave_outcome(job, node_id, submission.state(node_id, self.world.now))

        return self.world.results

    def _leave_outcome(self, job: Job, node_id: int, status: str) -> None:
        if status not in ("COMPLETED", "FAILED") or self.world.odd(job, "no outcome"):
            return

        header = {"status": status, "error": None, "started": 0.0, "ended": 0.0, "stdout": "", "stderr": "", "file": 0}
        header["error"] = None if status == "COMPLETED" else "the task raised"
        file = self.world.results / f"{job.ticket}.{node_id}.outcome"
        file.write_bytes(json.dumps(header).encode() + b"\n" + f"output of {node_id}".encode())

    @hookimpl
    async def cancel(self, job: Job, job_handle: str) -> None:
        await self._pass("cancel", job)
        submission = self.world.backend.of(job_handle)
        submission.killed = self.world.now < submission.ends

        if self.world.odd(job, "cancel ends it but raises"):
            raise ConnectionError("the answer is lost")

        self.world.point("cancel answers")

    @hookimpl
    async def find(self, job: Job) -> str | None:
        """Answer for requests in flight too: they are waited for, or must never be accepted."""
        await self._pass("find", job)
        submission = self.world.backend.under(job.ticket)

        if submission is None:
            return None

        if submission.accepted > self.world.now and job.cancel_requested:
            submission.accepted = math.inf
            return None

        await sleep(max(0.0, submission.accepted - self.world.now))
        return submission.handle

    @hookimpl
    async def release(self, job: Job) -> None:
        await self._pass("release", job)
        self.world.backend.files.pop(job.ticket, None)
        self.world.point("release answers")

    async def _pass(self, hook: str, job: Job) -> None:
        self.world.called(hook, job)
        await self._take(hook, job)

    async def _take(self, hook: str, job: Job) -> None:
        """Take the time that the call takes, and fail if it is to fail."""
        odd = self.world.odd
        await sleep(SLOW if odd(job, f"{hook} slow") else NEVER if odd(job, f"{hook} hangs") else USUAL)
        self.world.point(f"{hook} answers")

        if odd(job, f"{hook} raises"):
            raise ConnectionError(f"the backend is unreachable ({hook})")

        if odd(job, f"{hook} aborts"):
            raise TaskCancelledError("the quota is used up")
