"""The life of a job, from SubmitJob to its end."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .attempt import attempt
from .ends import End
from .jobs import Job
from .submission import child_of

if TYPE_CHECKING:
    from .service import Batch


async def live(batch: Batch, job: Job) -> None:
    """Take a job through all of its states."""
    if not await _wait_for_dependencies(batch, job):
        return

    await (_live_as_array(batch, job) if job.size is not None else _live_as_job(batch, job))


async def _wait_for_dependencies(batch: Batch, job: Job) -> bool:
    """Wait until others are through; False when one failed, and with it this job."""
    others = [batch.jobs[entry["jobId"]] for entry in job.request.get("dependsOn", [])] if job.parent is None else []

    if not others:
        return True

    job.become("PENDING")
    await asyncio.gather(*(other.over.wait() for other in others))

    if job.order is not None:
        job.become("FAILED", job.order)
    elif any(other.status == "FAILED" for other in others):
        job.become("FAILED", "Dependent Job failed")

    return not job.has_ended


async def _live_as_array(batch: Batch, parent: Job) -> None:
    """Spawn the children, and end when all of them have."""
    assert parent.size is not None

    if await _is_ordered_within(parent, batch.knobs.delay("spawn_delay")):
        parent.become("FAILED", parent.order)
        return

    for index in range(parent.size):
        child = parent.children[index] = child_of(parent, index)
        batch.add(child)

    parent.become("PENDING")
    await asyncio.gather(*(child.over.wait() for child in parent.children.values()))

    if all(child.status == "SUCCEEDED" for child in parent.children.values()):
        parent.become("SUCCEEDED")
    else:
        parent.become("FAILED", parent.order or "Array Child Job failed")


async def _live_as_job(batch: Batch, job: Job) -> None:
    attempts = _strategy(job).get("attempts", 1)

    for number in range(1, attempts + 1):
        job.become("RUNNABLE")

        if await _is_ordered_within(job, batch.knobs.delay("start_delay")) and not batch.knobs.ended_stay_runnable:
            job.become("FAILED", job.order)
            return

        end, exit_code = await _one_attempt(batch, job)

        if job.has_ended:
            return

        if end is None and exit_code == 0:
            job.become("SUCCEEDED", job.attempts[-1].status_reason)
            return

        if number == attempts or (end is not None and end.final) or not _tries_again(job):
            job.become("FAILED", job.attempts[-1].status_reason)
            return


async def _one_attempt(batch: Batch, job: Job) -> tuple[End | None, int | None]:
    """Wait for a place and run there; a job that is ended while it waits has ended when this returns."""
    place = job.place = job.queue.join(job.spec.resources["VCPU"])
    ordered = asyncio.ensure_future(job.ordered.wait())

    try:
        events: list[asyncio.Future[Any]] = [place.turn] if batch.knobs.ended_stay_runnable else [place.turn, ordered]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)

        if job.order is not None:
            job.become("FAILED", job.order)
            return None, None

        end = await attempt(batch, job, place.turn.result())
        return end, job.attempts[-1].exit_code
    finally:
        ordered.cancel()
        job.queue.leave(place)
        job.place = None


async def _is_ordered_within(job: Job, delay: Coroutine[Any, Any, None]) -> bool:
    """Wait for a delay, or until the job is to end; whether it is."""
    events = [asyncio.create_task(delay), asyncio.ensure_future(job.ordered.wait())]

    try:
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in events:
            event.cancel()

    return job.ordered.is_set()


def _strategy(job: Job) -> dict[str, Any]:
    strategy: dict[str, Any] = job.request.get("retryStrategy") or job.definition.request.get("retryStrategy", {})
    return strategy


def _tries_again(job: Job) -> bool:
    """What the first entry says that matches; where none does, a failed job is tried again."""
    last = job.attempts[-1]
    facts = {"onStatusReason": last.status_reason, "onReason": last.reason, "onExitCode": last.exit_code}

    for condition in _strategy(job).get("evaluateOnExit", []):
        patterns = [(key, condition[key]) for key in facts if key in condition]

        if all(fnmatch.fnmatchcase("" if facts[key] is None else str(facts[key]), p) for key, p in patterns):
            return bool(condition["action"].upper() == "RETRY")

    return True
