"""A backend that lives in the memory of the test, so that it survives what happens to dispatchers, and its executor."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import Event, get_cancelled_exc_class, move_on_after, sleep
from model import must

from covalent_core import Job, Perhaps, TaskCancelledError, hookimpl
from covalent_core._model.job import TaskCall
from covalent_core.errors import BackendUnreachableError, NotNow

if TYPE_CHECKING:
    from world import World

#: How long a call of the backend takes; one that is slow; one that never answers. Seconds of the world's clock.
USUAL, SLOW, NEVER = 0.01, 3.0, 1e9
#: How long the backend takes no further job.
HELD_BACK = 5.0
#: How far the clock can be off, added up as it is.
SPARE = 1e-6

#: What can be odd about a node, each as often as it is drawn: what ends its job, or its own run, what else.
ENDS_IT = ("pickle raises", "upload raises", "provision refuses", "run loses", "fetch raises")
FAILS = ("task fails", "no outcome", "no graph")
ABORTS = ("upload aborts", "provision aborts", "fetch aborts")
ODDITIES = (*ENDS_IT, *FAILS, *ABORTS, "provision loses its answer", "provision refuses late", "task hangs")
ODDITIES += tuple(f"{hook} raises" for hook in ("cancel", "find", "release", "cancel_members"))
ODDITIES += tuple(f"{h} {how}" for h in ("upload", "provision", "run", "fetch", "cancel") for how in ("slow", "hangs"))
ODDITIES += tuple(
    f"{h} out of reach" for h in ("pickle", "upload", "provision", "run", "fetch", "cancel", "find", "release")
)
ODDITIES += ("provision not now", "provision accepts and is out of reach", "find perhaps", "find perhaps")
ODDITIES += ("task slow", "find slow", "release slow", "release hangs", "cancel ends it but raises", "pickle slow")
#: What can be odd about packs.
PACKS = ("task slow", "task hangs", "task fails", "reports", "reports", "fetch maps", "cancel brings results")
PACKS += ("run answers at once",)
PACKS += tuple(f"cancel_members {how}" for how in ("slow", "hangs", "raises", "out of reach", "ends it but raises"))
PACKS += ("cancel_members brings results",)


@dataclass
class Run:
    """One node at the backend: settled when it is asked for, unless it is killed first."""

    begins: float
    ends: float
    outcome: str

    def state(self, now: float) -> str:
        return "to come" if now < self.begins else "alive" if now < self.ends - SPARE else self.outcome


class Submission:
    """A job as the backend knows it: its nodes run one after the other, and without those whose sources have not."""

    def __init__(self, job: Job, handle: str, accepted: float, drawn: dict[int, tuple[float, str]]) -> None:
        self.dispatch_id, self.ticket, self.handle, self.accepted = job.dispatch_id, job.ticket, handle, accepted
        self.limited = False
        self.changed = Event()
        self._drawn = drawn
        self._needs = {task.node_id: task.needs for task in job.tasks}
        self.runs: dict[int, Run] = {}
        self._lay_out(list(drawn), accepted)

    def _lay_out(self, node_ids: list[int], start: float) -> None:
        for node in node_ids:
            seconds, outcome = self._drawn[node]
            sources = [self.runs[source].outcome for source in self._needs[node] if source in self.runs]
            run = Run(start, start + seconds, outcome)
            self.runs[node] = run if set(sources) <= {"COMPLETED"} else Run(math.inf, math.inf, "SKIPPED")
            start = start if self.runs[node].begins == math.inf else self.runs[node].ends

    @property
    def ends(self) -> float:
        return max((run.ends for run in self.runs.values() if run.ends < math.inf), default=0.0)

    def ran(self, now: float) -> dict[int, str]:
        """Return how the nodes stand that have begun."""
        return {node: run.state(now) for node, run in self.runs.items() if run.begins <= now}

    def kill(self, node_ids: Iterable[int], now: float) -> None:
        """End nodes; what is still to come goes on at once."""
        for node in node_ids:
            if now < self.runs[node].ends - SPARE and self.runs[node].outcome != "SKIPPED":
                begins = self.runs[node].begins if self.runs[node].begins <= now else math.inf
                self.runs[node] = Run(begins, now if begins <= now else math.inf, "killed")

        to_come = [n for n, run in self.runs.items() if run.begins > now and run.outcome != "killed"]
        busy = [run.ends for run in self.runs.values() if run.begins <= now]
        self._lay_out(to_come, max([now, self.accepted, *busy]))
        self.changed.set()


@dataclass
class Backend:
    """Submissions and files. Like a batch system, it runs what it is given twice twice."""

    submissions: list[Submission] = field(default_factory=list)
    #: By ticket whether all is there that was to be uploaded.
    files: dict[str, bool] = field(default_factory=dict)

    def submit(self, world: World, job: Job, delay: float) -> Submission:
        drawn = {task.node_id: self._draw(world, task) for task in job.tasks}
        handle = f"{job.ticket}/{len(self.submissions)}"
        self.submissions.append(Submission(job, handle, world.now + delay, drawn))
        return self.submissions[-1]

    def _draw(self, world: World, task: TaskCall) -> tuple[float, str]:
        odd = partial(world.odd_task, task)
        seconds = SLOW if odd("task slow") else NEVER if odd("task hangs") else USUAL
        return seconds, "FAILED" if odd("task fails") else "lost" if odd("no outcome") else "COMPLETED"

    def under(self, ticket: str) -> Submission | None:
        found = [submission for submission in self.submissions if submission.ticket == ticket]
        return found[-1] if found else None

    def runs(self, now: float) -> dict[str, dict[int, list[tuple[str, str]]]]:
        """Return by dispatch and node its runs: in which job, and alive, killed, or the outcome it came to."""
        found: dict[str, dict[int, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))

        for submission in self.submissions:
            for node, state in submission.ran(now).items():
                found[submission.dispatch_id][node].append((submission.ticket, state))

        return found

    def of(self, handle: str) -> Submission:
        (found,) = [submission for submission in self.submissions if submission.handle == handle]
        return found


class SimulatedExecutor:
    """Ask the backend of the current world, and do not get an answer where the world has drawn that."""

    world: World

    def __init__(self, max_workers: int | None = None, pack: int | str | None = None) -> None:
        self.max_workers = max_workers
        self.pack = pack

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
        world.checked(must, world.backend.files.get(job.ticket), "{} is provisioned and not uploaded", job.ticket)

        if world.odd(job, "provision refuses"):
            raise ConnectionError("the backend refuses the job")

        if world.odd(job, "provision not now"):
            raise NotNow("there are enough", HELD_BACK)

        if world.odd(job, "provision out of reach"):
            raise BackendUnreachableError("nobody answers")

        if world.odd(job, "provision aborts"):
            raise TaskCancelledError("the quota is used up")

        delay, began = SLOW if world.odd(job, "provision slow") else USUAL, world.now
        submission = world.backend.submit(world, job, delay)
        submission.limited = self.max_workers is not None

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

        if world.odd(job, "provision accepts and is out of reach"):
            raise BackendUnreachableError("the line is lost")

        return submission.handle

    @hookimpl
    async def run(self, job: Job, job_handle: str) -> None:
        submission = self.world.backend.of(job_handle)

        if submission.ends <= self.world.now and self.world.odd(job, "run answers at once"):
            self.world.called("run", job)
            return

        await self._pass("run", job)

        if self.world.odd(job, "run loses"):
            raise ConnectionError("the backend does not know the job any more")

        await self._wait(job, submission, reports=self.world.odd(job, "reports"))
        self.world.point("run answers")

    async def _wait(self, job: Job, submission: Submission, *, reports: bool) -> None:
        """Return when the job has ended; on the way, report on the nodes that have, if that is drawn."""
        while (left := submission.ends - self.world.now) > SPARE:
            submission.changed = Event()
            ends = [run.ends - self.world.now for run in submission.runs.values()] if reports else []

            with move_on_after(min([left, *(end for end in ends if end > SPARE)])):
                await submission.changed.wait()

            if reports:
                job.report_results(self._results(job, submission))
                self.world.point("run reports")

    @hookimpl
    async def fetch(self, job: Job, job_handle: str) -> Path | dict[str, bytes]:
        await self._pass("fetch", job)
        results = self._results(job, self.world.backend.of(job_handle))

        if results and self.world.odd(job, "fetch maps"):
            return results

        for name, content in results.items():
            (self.world.results / name).write_bytes(content)

        return self.world.results

    def _results(self, job: Job, submission: Submission) -> dict[str, bytes]:
        """Return the result files that are there by now."""
        found = {}

        for task in job.tasks:
            run = submission.runs[task.node_id]
            status = "TERMINATED" if run.outcome == "killed" else run.outcome

            if status != "lost" and (run.ends <= self.world.now + SPARE or run.begins == math.inf):
                header = {"status": status, "error": None, "started": 0.0, "ended": 0.0, "stdout": "", "stderr": ""}
                header |= {"file": False, "error": None if status == "COMPLETED" else "the task raised"}
                content = json.dumps(header).encode() + b"\n" + self.world.output(task)
                found[f"{job.ticket}.{task.node_id}.outcome"] = content

        return found

    @hookimpl
    async def cancel(self, job: Job, job_handle: str) -> dict[str, bytes] | None:
        await self._pass("cancel", job)
        submission = self.world.backend.of(job_handle)
        submission.kill(job.node_ids, self.world.now)
        return self._answer("cancel", job, submission)

    def _answer(self, hook: str, job: Job, submission: Submission) -> dict[str, bytes] | None:
        if self.world.odd(job, f"{hook} ends it but raises"):
            raise ConnectionError("the answer is lost")

        self.world.point(f"{hook} answers")
        return self._results(job, submission) if self.world.odd(job, f"{hook} brings results") else None

    @hookimpl
    async def find(self, job: Job) -> str | Perhaps | None:
        """Answer for requests in flight too: they are waited for, or must never be accepted."""
        await self._pass("find", job)

        if self.world.odd(job, "find perhaps"):
            return Perhaps("it may be on its way")

        submission = self.world.backend.under(job.ticket)

        if submission is None:
            return None

        if submission.accepted > self.world.now and job.cancel_requested:
            submission.kill(job.node_ids, self.world.now)
            submission.accepted = math.inf
            return None

        await sleep(max(0.0, submission.accepted - self.world.now))
        return submission.handle

    @hookimpl
    async def release(self, job: Job) -> None:
        try:
            await self._pass("release", job)
        except (Exception, get_cancelled_exc_class()):
            self.world.release_failed(job)
            raise

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

        if odd(job, f"{hook} out of reach"):
            raise BackendUnreachableError(f"nobody answers ({hook})")

        if odd(job, f"{hook} raises"):
            raise ConnectionError(f"the backend is unreachable ({hook})")

        if odd(job, f"{hook} aborts"):
            raise TaskCancelledError("the quota is used up")


class MembersExecutor(SimulatedExecutor):
    """It can end single nodes of a pack."""

    @hookimpl
    async def cancel_members(self, job: Job, job_handle: str, node_ids: list[int]) -> dict[str, bytes] | None:
        self.world.checked(self.world.models[job.dispatch_id].ends_members, job.ticket, node_ids)
        await self._pass("cancel_members", job)
        submission = self.world.backend.of(job_handle)
        submission.kill(node_ids, self.world.now)
        return self._answer("cancel_members", job, submission)
