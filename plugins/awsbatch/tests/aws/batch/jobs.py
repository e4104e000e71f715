"""One job: its states, its attempts, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .definitions import Definition
    from .queues import Place, Queue
    from .spec import ContainerSpec

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
BEFORE_START = ("SUBMITTED", "PENDING", "RUNNABLE")
ENDED = ("SUCCEEDED", "FAILED")


def now() -> int:
    """Return the time as Batch writes it: milliseconds since 1970."""
    return int(time.time() * 1000)


@dataclass
class Attempt:
    """One start of a job's container."""

    instance_arn: str | None
    task_arn: str
    log_stream: str
    started_at: int | None = None
    stopped_at: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None


@dataclass(eq=False)
class Job:
    """A job, an array of jobs (with ``size``), or a child of one (with ``index`` and ``parent``)."""

    id: str
    arn: str
    queue: Queue
    definition: Definition
    request: dict[str, Any]
    spec: ContainerSpec
    size: int | None = None
    index: int | None = None
    parent: Job | None = None
    children: dict[int, Job] = field(default_factory=dict)
    status: str = "SUBMITTED"
    _reason: str | None = None
    created_at: int = field(default_factory=now)
    born: float = field(default_factory=time.monotonic)
    started_at: int | None = None
    stopped_at: int | None = None
    ended: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    place: Place | None = None
    is_cancelled: bool = False
    is_terminated: bool = False
    order: str | None = None
    ordered: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    told_at_the_end: str | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    summary: tuple[float, int, dict[str, int]] | None = None
    _waiters: list[tuple[tuple[str, ...], asyncio.Future[None]]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What SubmitJob called it."""
        return str(self.request["jobName"])

    @property
    def tags(self) -> dict[str, str]:
        """Those that SubmitJob gave."""
        return dict(self.request.get("tags", {}))

    @property
    def has_ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in ENDED

    @property
    def status_reason(self) -> str | None:
        """Why it has the status that it has; of those that wait only the first is told."""
        return self._reason or (self.queue.reason_for(self.place) if self.status == "RUNNABLE" else None)

    def become(self, status: str, reason: str | None = None) -> None:
        """Take this status, and wake whoever waits for it."""
        self.status, self._reason = status, reason

        if status == "RUNNING":
            self.started_at = now()

        if status in ENDED:
            self.stopped_at, self.ended = now(), time.monotonic()
            self.over.set()

        for statuses, waiter in self._waiters:
            if status in statuses and not waiter.done():
                waiter.set_result(None)

    async def reaches(self, statuses: tuple[str, ...]) -> None:
        """Return when it has one of these."""
        if self.status not in statuses:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((statuses, waiter))
            await waiter

    def count_children(self, lag: float) -> tuple[int, dict[str, int]]:
        """Return how many children have which status, and when that was counted."""
        if self.summary is None or time.monotonic() - self.summary[0] >= lag:
            counts = dict.fromkeys(STATUSES, 0)

            for child in self.children.values():
                counts[child.status] += 1

            self.summary = (time.monotonic(), now(), counts)

        return self.summary[1], self.summary[2]
