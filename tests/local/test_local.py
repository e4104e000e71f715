"""The local executor by itself: its hooks in orders that a dispatcher brings about only now and then."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import cloudpickle
import pytest
from probes import alive, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._local import executor, worker
from covalent_core._local.executor import LocalExecutor
from covalent_core._model.job import Job, TaskCall
from covalent_core._runner.processes import children
from covalent_core.backend import _proc
from covalent_core.backend.processes import Place, ProcessHandle
from covalent_core.errors import BackendUnreachableError, ExecutorError


def job_of(number: int, seconds: float) -> Job:
    call = TaskCall(number, "sleep", cloudpickle.dumps(time.sleep), pickle.dumps(((seconds,), {})))
    return Job("dispatch", f"ct-{number}", 0, (call,))


async def start(executor: LocalExecutor, job: Job) -> None:
    job.location = await executor.upload(job, await executor.pickle(job))
    job.job_handle = await executor.provision(job, job.location)


async def until_ended(job: Job) -> None:
    with anyio.fail_after(20):
        while not os.path.lexists(f"{job.location}.ended"):
            await anyio.sleep(0.005)


def below(guard: int) -> int:
    """Return the supervisor that a guard guards, when it has begun."""
    wait_until(lambda: children(guard))
    return children(guard)[0]


@pytest.fixture
def another_dispatcher(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what lets this process pass for another one than that which has started the supervisors until then."""

    def pass_for_another() -> None:
        for module in (executor, worker):
            monkeypatch.setattr(module, "own_tag", lambda: "another")

    return pass_for_another


def test_a_cancel_that_meets_the_end_of_its_task_does_not_touch_the_next(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            first, second = job_of(1, 0), job_of(2, 60)
            await start(executor, first)
            await anyio.wait_readable(executor._busy[first.ticket]._line)
            results = await executor.cancel(first, first.location, first.job_handle)
            await start(executor, second)

            assert b'"COMPLETED"' in results["ct-1.1.outcome"]
            assert second.job_handle == first.job_handle
            assert await executor.find(second, second.location) == second.job_handle
            results = await executor.cancel(second, second.location, second.job_handle)
            assert b'"TERMINATED"' in results["ct-2.2.outcome"]

    find_home().create()
    anyio.run(story)


def test_a_small_job_has_no_files(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0)
            await start(executor, job)
            await executor.run(job, job.location, job.job_handle)

            assert list(find_home().jobs.glob("ct-*")) == []
            assert list(await executor.fetch(job)) == ["ct-1.1.outcome"]

    find_home().create()
    anyio.run(story)


@pytest.mark.parametrize("large", ["call", "value", "output"])
def test_what_is_too_large_for_a_message_is_in_files(home: Path, large: str) -> None:
    size = 300_000
    functions = {"call": len, "value": lambda _: b"x" * size, "output": lambda _: print("\0" * size)}

    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            args = (bytes(900_000) if large == "call" else b"",)
            call = TaskCall(1, "large", cloudpickle.dumps(functions[large]), pickle.dumps((args, {})))
            job = Job("dispatch", "ct-1", 0, (call,))
            await start(executor, job)
            assert (large == "call") == os.path.exists(f"{job.location}.call")
            await executor.run(job, job.location, job.job_handle)
            results = await executor.fetch(job)
            ending = ".value" if large == "value" else ".outcome"
            assert isinstance(results[f"ct-1.1{ending}"], bytes if large == "call" else Path)
            await executor.release(job)
            assert list(find_home().jobs.glob("ct-*")) == []

    find_home().create()
    anyio.run(story)


@pytest.mark.parametrize(("code", "words"), [(86, "it is older than Python 3.8"), (1, "see dispatcher.log")])
def test_an_interpreter_that_cannot_begin_says_so_at_the_node(
    home: Path, tmp_path: Path, code: int, words: str
) -> None:
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\nexit {code}\n")
    python.chmod(0o700)
    interpreter = LocalExecutor(python=str(python))

    @ct.lattice
    def workflow():
        return ct.electron(abs, executor=interpreter)(-1)

    result = ct.dispatch_sync(workflow)()

    assert result.status == Status.FAILED
    assert f"the interpreter {python} ended with exit code {code} before the task had begun: {words}" in result.error


@pytest.mark.parametrize("killed", ["guard", "supervisor"])
def test_a_worker_that_was_ended_while_idle_is_replaced(home: Path, killed: str) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            first, second = job_of(1, 0), job_of(2, 0)
            await start(executor, first)
            await executor.run(first, first.location, first.job_handle)
            guard = ProcessHandle.parse(first.job_handle).pid
            supervisor = below(guard)
            os.kill(guard if killed == "guard" else supervisor, signal.SIGKILL)
            wait_until(lambda: not alive(supervisor))
            await start(executor, second)
            await executor.run(second, second.location, second.job_handle)

            assert second.job_handle != first.job_handle
            wait_until(lambda: not alive(guard))

    find_home().create()
    anyio.run(story)


def test_what_a_supervisor_has_not_read_yet_when_its_dispatcher_dies_is_found(
    home: Path, another_dispatcher: Callable[[], None]
) -> None:
    async def story() -> None:
        job = job_of(1, 60)

        async with LocalExecutor(max_workers=1) as executor:
            await start(executor, job_of(0, 0))
            supervisor = below(ProcessHandle.parse(executor._busy["ct-0"].handle).pid)
            await executor.run(job_of(0, 0), "", "")
            os.kill(supervisor, signal.SIGSTOP)
            await start(executor, job)

        another_dispatcher()
        job._cancel_reason = "too expensive"

        async with LocalExecutor(max_workers=1) as executor:
            with anyio.move_on_after(0.1) as waited:
                await executor.find(job, job.location)

            os.kill(supervisor, signal.SIGCONT)
            assert waited.cancelled_caught
            assert await executor.find(job, job.location) == job.job_handle
            await executor.cancel(job, job.location, job.job_handle)
            wait_until(lambda: not alive(supervisor))

    find_home().create()
    anyio.run(story)


def test_a_supervisor_that_was_killed_with_its_dispatcher_leaves_nothing(
    home: Path, another_dispatcher: Callable[[], None]
) -> None:
    def left() -> list[str]:
        return [file.name for file in find_home().jobs.iterdir() if not file.name.startswith("another")]

    async def story() -> None:
        job = job_of(1, 60)

        async with LocalExecutor(max_workers=1) as executor:
            await start(executor, job)
            process = ProcessHandle.parse(job.job_handle)
            os.kill(below(process.pid), signal.SIGKILL)

        another_dispatcher()

        async with LocalExecutor(max_workers=1) as executor:
            assert await executor.find(job, job.location) is None
            assert left() == [f"{process.tag}.ended"]

            with pytest.raises(ExecutorError, match="was ended by signal 9"):
                await executor.run(job, job.location, job.job_handle)

            await executor.release(job)
            assert left() == []

    find_home().create()
    anyio.run(story)


@pytest.mark.parametrize("ended", [False, True])
def test_another_dispatcher_can_wait_for_a_job_and_cancel_it(
    home: Path, another_dispatcher: Callable[[], None], ended: bool
) -> None:
    async def story() -> None:
        job = job_of(1, 0 if ended else 60)

        async with LocalExecutor(max_workers=1) as executor:
            await start(executor, job)

        another_dispatcher()

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

            earlier = int(ProcessHandle.of(os.getpid()).started) - 1

            with pytest.raises(BackendUnreachableError, match="whether it has left others is not known"):
                await executor.cancel(job, job.location, f"{os.getpid()}.{earlier}.no-such-tag")

    find_home().create()
    anyio.run(story)


def elsewhere(**place: str) -> str:
    """Return the handle of a process that has the number of this one, in another place."""
    return str(ProcessHandle(os.getpid(), "1", "no-such-tag", replace(Place.here(), **place)))


@pytest.mark.parametrize("place", [{"namespace": "1"}, {"host": "another"}])
def test_of_a_process_in_another_place_nothing_is_said(home: Path, place: dict[str, str]) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0)
            job.location = await executor.upload(job, await executor.pickle(job))

            for hook in (executor.run, executor.cancel):
                with pytest.raises(BackendUnreachableError, match="cannot be seen"):
                    await hook(job, job.location, elsewhere(**place))

    find_home().create()
    anyio.run(story)


def test_a_process_of_another_boot_is_gone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As outside of all containers, wherever this runs.
    monkeypatch.setattr(_proc, "FIRST_NAMESPACE", Place.here().namespace)

    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0)
            job.location = await executor.upload(job, await executor.pickle(job))

            with pytest.raises(ExecutorError, match="was booted since"):
                await executor.run(job, job.location, elsewhere(boot="another"))

            await executor.cancel(job, job.location, elsewhere(boot="another"))

    find_home().create()
    anyio.run(story)


def test_a_job_survives_a_dispatcher_that_dies_with_unread_answers(home: Path) -> None:
    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            job = job_of(1, 0.5)
            await start(executor, job)
            worker = executor._busy[job.ticket]
            worker.send(ticket="ct-nobody", prefix="/no/such/job")
            await anyio.wait_readable(worker._line)

        # A line that is closed with something unread in it is reset, not just at its end.
        await until_ended(job)
        header = Path(f"{job.location}.1.outcome").read_bytes().partition(b"\n")[0]
        assert b'"COMPLETED"' in header

    find_home().create()
    anyio.run(story)


def test_what_a_supervisor_left_is_killed_and_never_the_process_that_looks(tmp_path: Path) -> None:
    script = """
import anyio, os, subprocess
from covalent_core.backend.processes import ProcessHandle

left = subprocess.Popen(["sleep", "600"], start_new_session=True)
anyio.run(ProcessHandle.of(os.getpid(), os.environ["COVALENT_CORE_SUPERVISOR"]).sweep)
print(left.wait(), flush=True)
"""
    marked = {**os.environ, "COVALENT_CORE_SUPERVISOR": uuid.uuid4().hex}
    done = subprocess.run([sys.executable, "-c", script], env=marked, capture_output=True, text=True, timeout=20)

    assert (done.returncode, done.stdout) == (0, "-9\n"), done.stderr


def test_what_a_crashed_task_had_written_may_be_too_large_for_a_message(home: Path) -> None:
    def crash() -> None:
        # Each of these bytes is six in an outcome.
        os.write(1, bytes(65536))
        os.write(2, bytes(65536))
        os._exit(3)

    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            call = TaskCall(1, "crash", cloudpickle.dumps(crash), pickle.dumps(((), {})))
            job = Job("dispatch", "ct-1", 0, (call,))
            await start(executor, job)

            with anyio.fail_after(20):
                await executor.run(job, job.location, job.job_handle)

            header = json.loads((await executor.fetch(job))["ct-1.1.outcome"].read_bytes())
            assert (header["ended_by"], header["stdout"]) == ("exit 3", "\0" * 65536)

    find_home().create()
    anyio.run(story)


def test_a_supervisor_whose_dispatcher_dies_on_a_full_disk_waits_for_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVALENT_CORE_HOME", str(small_disk))
    filler = small_disk / "filler"

    async def story() -> None:
        async with LocalExecutor(max_workers=1) as executor:
            call = TaskCall(1, "bytes", cloudpickle.dumps(bytes), pickle.dumps(((20_000,), {})))
            job = Job("dispatch", "ct-1", 0, (call,))
            await start(executor, job)
            await executor.run(job, job.location, job.job_handle)
            fill(filler)

        part, lock = (
            Path(f"{job.location}.1.outcome.part"),
            find_home().jobs / f"{ProcessHandle.parse(job.job_handle).tag}.lock",
        )
        wait_until(part.exists)
        # For as long as it is there, the next dispatcher knows that there is something that it cannot see yet.
        assert worker.is_locked(lock)
        assert not os.path.lexists(f"{job.location}.ended")
        filler.unlink()
        await until_ended(job)
        assert b'"COMPLETED"' in Path(f"{job.location}.1.outcome").read_bytes().partition(b"\n")[0]
        wait_until(lambda: not lock.exists())

    find_home().create()
    anyio.run(story)


def fill(filler: Path) -> None:
    """Leave no room on the disk of a file."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))


@pytest.mark.parametrize("pack", [None, 2])
def test_a_folder_for_each_task_stays_if_there_is_something_in_it(home: Path, tmp_path: Path, pack: int | None) -> None:
    def work(name: str) -> str:
        if name:
            Path(name).write_text("left")

        return os.getcwd()

    @ct.lattice(executor=LocalExecutor(workdir=str(tmp_path / "work"), create_unique_workdir=True), pack=pack)
    def workflow() -> list[str]:
        return [ct.electron(work)(name) for name in ("", "file")]

    result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    assert result.status == Status.COMPLETED, result.error
    folder = tmp_path / "work" / result.dispatch_id
    nodes = [f"node_{node_id}" for name, node_id in result.nodes() if name.startswith("work(")]
    assert result.result == [str(folder / node) for node in ([nodes[0]] * 2 if pack else nodes)]
    wait_until(lambda: [path.name for path in folder.iterdir()] == [nodes[0] if pack else nodes[1]])
