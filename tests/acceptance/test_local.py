"""The local executor by itself: its hooks in orders that a dispatcher brings about only now and then."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import anyio
import cloudpickle
import pytest
from probes import alive, wait_until

from covalent_core._home import find_home
from covalent_core._job import Job, TaskCall
from covalent_core._local import LocalExecutor


def job_of(number: int, seconds: float) -> Job:
    call = TaskCall(number, "sleep", cloudpickle.dumps(time.sleep), pickle.dumps(((seconds,), {})), {})
    return Job("dispatch", f"ct-{number}", 0, (call,))


async def start(executor: LocalExecutor, job: Job) -> None:
    job.location = await executor.upload(job, await executor.pickle(job))
    job.job_handle = await executor.provision(job, job.location)


async def until_ended(job: Job) -> None:
    with anyio.fail_after(20):
        while not os.path.lexists(f"{job.location}.ended"):
            await anyio.sleep(0.005)


def test_a_cancel_that_meets_the_end_of_its_task_does_not_touch_the_next(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            first, second = job_of(1, 0), job_of(2, 60)
            await start(executor, first)
            await until_ended(first)
            await executor.cancel(first, first.location, first.job_handle)
            await start(executor, second)

            assert second.job_handle == first.job_handle
            assert await executor.find(second, second.location) == second.job_handle
            await executor.cancel(second, second.location, second.job_handle)
            assert os.path.lexists(f"{second.location}.ended")

    find_home().create()
    anyio.run(story)


def test_a_worker_that_was_ended_while_idle_is_replaced(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            first, second = job_of(1, 0), job_of(2, 0)
            await start(executor, first)
            await executor.run(first, first.location, first.job_handle)
            supervisor = int(first.job_handle.partition(".")[0])
            os.kill(supervisor, 9)
            await start(executor, second)
            await executor.run(second, second.location, second.job_handle)

            assert second.job_handle != first.job_handle
            assert not alive(supervisor)

    find_home().create()
    anyio.run(story)


def test_a_job_that_is_cancelled_before_it_is_found_cannot_start_afterwards(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0)
            job.location = await executor.upload(job, await executor.pickle(job))
            job._cancel_reason = "too expensive"
            assert await executor.find(job, job.location) is None
            assert await executor.provision(job, job.location) == "nobody"
            assert not os.path.lexists(f"{job.location}.1.outcome")
            await executor.release(job)
            assert list(find_home().jobs.glob("ct-*")) == []

    find_home().create()
    anyio.run(story)


@pytest.mark.parametrize("ended", [False, True])
def test_another_dispatcher_can_wait_for_a_job_and_cancel_it(home: Path, ended: bool) -> None:
    async def story() -> None:
        job = job_of(1, 0 if ended else 60)

        async with LocalExecutor(max_workers=1) as executor:
            await start(executor, job)

        async with LocalExecutor(max_workers=1) as executor:
            if ended:
                await executor.run(job, job.location, job.job_handle)

            with anyio.fail_after(10):
                await executor.cancel(job, job.location, job.job_handle)

            assert os.path.lexists(f"{job.location}.ended")
            wait_until(lambda: not alive(int(job.job_handle.partition(".")[0])))

    find_home().create()
    anyio.run(story)


def test_a_process_that_has_got_the_number_of_a_job_is_left_alone(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0)
            job.location = await executor.upload(job, await executor.pickle(job))
            await executor.cancel(job, job.location, f"{os.getpid()}.1.no-such-tag")

    find_home().create()
    anyio.run(story)


def test_a_job_survives_a_dispatcher_that_dies_with_unread_answers(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0.5)
            await start(executor, job)
            worker = executor._busy[job.ticket]
            worker.send(cancel="ct-nobody", grace=0)
            await anyio.wait_readable(worker._line)

        # A line that is closed with something unread in it is reset, not just at its end.
        await until_ended(job)
        header = Path(f"{job.location}.1.outcome").read_bytes().partition(b"\n")[0]
        assert b'"COMPLETED"' in header

    find_home().create()
    anyio.run(story)
