"""One attempt of a job: its container starts, runs, and ends one way or another."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from .container import Running
from .ends import ENDS, EXITED, OVERRIDES_TOO_LONG, TIME_LIMIT, TOO_MANY_TAGS, End, Plan, cannot_pull, cannot_start
from .images import Image, ImageNotFoundError
from .jobs import Attempt, Job, now
from .logs import DEFAULT_GROUP

if TYPE_CHECKING:
    from .queues import ComputeEnvironment
    from .service import Batch

MOST_OVERRIDES = 8192
MOST_TAGS = 50


async def attempt(batch: Batch, job: Job, environment: ComputeEnvironment) -> End | None:
    """Run the job's container once; return what ended it, None if its command did."""
    this = _new_attempt(job, environment)
    job.attempts.append(this)
    job.told = asyncio.get_running_loop().create_future()
    job.become("STARTING")
    plan = next((plan for plan in batch.plans if plan.takes(job.name)), None)
    await batch.knobs.delay("pull_delay")
    end = _failure_to_start(batch, job, plan) or await _run(batch, job, environment, this, plan)
    this.stopped_at = now()

    if end is not None and not end.keeps_exit_code:
        this.exit_code = end.exit_code

    this.reason = end.reason if end is not None else None
    this.status_reason = end.status_reason if end is not None else EXITED
    return end


def _new_attempt(job: Job, environment: ComputeEnvironment) -> Attempt:
    cluster = environment.arn.replace(":batch:", ":ecs:").partition(":compute-environment/")[0]
    instance = None if environment.is_fargate else f"{cluster}:container-instance/{environment.name}/{uuid.uuid4().hex}"
    task = uuid.uuid4().hex
    prefix = job.spec.log_options.get("awslogs-stream-prefix", job.definition.name[:200])
    return Attempt(instance, f"{cluster}:task/{environment.name}/{task}", f"{prefix}/{job.spec.name}/{task}")


def _failure_to_start(batch: Batch, job: Job, plan: Plan | None) -> End | None:
    if job.order is not None:
        return _by_order(job)

    if job.spec.overrides_length > MOST_OVERRIDES:
        return OVERRIDES_TOO_LONG

    if job.request.get("propagateTags") and len(job.tags | job.definition.request.get("tags", {})) > MOST_TAGS:
        return TOO_MANY_TAGS

    if plan is not None and ENDS[plan.way].when == "start":
        return ENDS[plan.way]

    for role in (job.spec.execution_role, job.spec.job_role):
        if role is not None and not batch.moto.has_role(role):
            return End("start", ENDS["role"].status_reason.replace("arn:aws:iam::123456789012:role/job", role))

    try:
        image = batch.images.image(job.spec.image)
    except ImageNotFoundError as error:
        return cannot_pull(str(error))

    program = _command(job, image)[0]
    return None if shutil.which(program, path=image.path) else cannot_start(program)


def _command(job: Job, image: Image) -> list[str]:
    init = [shutil.which("tini") or "tini", "--"] if job.spec.init else []
    return [*init, *image.entrypoint, *job.spec.command] or ["python3"]


def _by_order(job: Job) -> End:
    assert job.order is not None
    return End("running", job.order, warned=True, keeps_exit_code=True, final=True)


async def _run(batch: Batch, job: Job, environment: ComputeEnvironment, this: Attempt, plan: Plan | None) -> End | None:
    image = batch.images.image(job.spec.image)

    try:
        write = _log_writer(batch, job, this)
    except LookupError as error:
        return End("start", f"ResourceInitializationError: failed to validate logger args: {error}")

    variables = batch.variables_of(job, environment, image.path)
    folder = batch.folder / "containers" / this.task_arn.rpartition("/")[2]
    running = await Running.start(_command(job, image), variables, folder, write)
    this.started_at = now()
    job.become("RUNNING")
    return await _until_end(batch, job, running, this, plan)


def _log_writer(batch: Batch, job: Job, this: Attempt) -> Callable[[list[str]], None]:
    group = job.spec.log_options.get("awslogs-group", DEFAULT_GROUP)
    batch.logs.open(group, this.log_stream)
    return partial(batch.logs.write, group, this.log_stream)


async def _until_end(batch: Batch, job: Job, running: Running, this: Attempt, plan: Plan | None) -> End | None:
    """Let it run until its command has ended, or something ends it."""
    causes = [asyncio.create_task(cause) for cause in _causes(batch, job, plan)]

    try:
        await asyncio.wait([running.ended, *causes], return_when=asyncio.FIRST_COMPLETED)
        happened = [cause.result() for cause in causes if cause.done()]
    finally:
        for cause in causes:
            cause.cancel()

    if running.ended.done():
        this.exit_code = running.ended.result()
        way = plan.way if plan is not None else job.told_at_the_end
        return ENDS[way] if way is not None and ENDS[way].when == "finished" else None

    await _stop(batch, job, running, happened[0], this)
    return happened[0]


def _causes(batch: Batch, job: Job, plan: Plan | None) -> list[Coroutine[Any, Any, End]]:
    causes = [_when_ordered(batch, job), _when_told(job)]
    limit = job.request.get("timeout", job.definition.request.get("timeout", {})).get("attemptDurationSeconds")

    if limit is not None:
        causes.append(_after(batch.knobs.time_limit or limit, TIME_LIMIT))

    if plan is not None and ENDS[plan.way].when == "running":
        causes.append(_after(plan.after, ENDS[plan.way]))

    return causes


async def _when_ordered(batch: Batch, job: Job) -> End:
    await job.ordered.wait()
    await batch.knobs.delay("termination_delay")
    return _by_order(job)


async def _when_told(job: Job) -> End:
    return ENDS[await job.told]


async def _after(seconds: float, end: End) -> End:
    await asyncio.sleep(seconds)
    return end


async def _stop(batch: Batch, job: Job, running: Running, end: End, this: Attempt) -> None:
    timeout = batch.knobs.stop_timeout if job.spec.stop_timeout is None else job.spec.stop_timeout

    if end.final and batch.knobs.abandoned_for:
        batch.start(_abandon(batch, running))
    elif end.warned:
        this.exit_code = await running.stop(timeout, batch.knobs.stop_signal)
    else:
        this.exit_code = await running.kill()


async def _abandon(batch: Batch, running: Running) -> None:
    await batch.knobs.delay("abandoned_for")
    await running.kill()
