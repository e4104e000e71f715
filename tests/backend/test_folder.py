"""A folder that the backend sees: bundles of real runners, their claims, their ends and what they write."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from backend.jobs import TICKET, Reports, job_of, outcome
from probes import wait_until

from covalent_core import Job
from covalent_core._executors.bundle import pack
from covalent_core.backend import NOBODY, ProcessHandle, SharedFolder
from covalent_core.errors import ExecutorError

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    return SharedFolder(tmp_path / "shared")


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(location: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "bundle.pyz"], cwd=location))
        return started[-1]

    yield start

    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait()


def uploaded(folder: SharedFolder, *node_ids: int, seconds: float = 0.0) -> tuple[Job, Reports, str]:
    job, reports = job_of(*node_ids, function=time.sleep, args=(seconds,))
    return job, reports, folder.upload(job, pack(job))


# --- who may change what is there ------------------------------------------------------------------------------------


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_what_is_there_is_for_one_user_alone(loose_umask: None, tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path / "a" / "b")
    _, _, location = uploaded(folder, 1)

    for path in (tmp_path / "a", tmp_path / "a" / "b", Path(location), Path(location, "bundle.pyz")):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("mode", "refused"), [(0o770, True), (0o702, True), (0o755, False), (0o1777, False)])
def test_a_folder_that_others_may_write_is_refused(folder: SharedFolder, mode: int, refused: bool) -> None:
    folder.path.mkdir()
    folder.path.chmod(mode)

    if refused:
        with pytest.raises(ExecutorError, match=f"can be written by other users .*chmod go-w {folder.path}"):
            uploaded(folder, 1)
    else:
        uploaded(folder, 1)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("place", ["", TICKET])
def test_a_folder_of_another_user_is_refused(folder: SharedFolder, place: str) -> None:
    (folder.path / place).mkdir(parents=True)
    os.chown(folder.path / place, 65534, 65534)

    with pytest.raises(ExecutorError, match="belongs to the user 65534"):
        uploaded(folder, 1)


def test_a_link_in_the_place_of_a_job_is_refused(folder: SharedFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.path.mkdir(mode=0o700)
    (folder.path / TICKET).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ExecutorError, match="is a link"):
        uploaded(folder, 1)

    assert os.listdir(tmp_path / "elsewhere") == []


def test_an_upload_can_be_made_again(folder: SharedFolder) -> None:
    uploaded(folder, 1)
    _, _, location = uploaded(folder, 1)

    assert os.listdir(location) == ["bundle.pyz"]


def test_a_path_is_relative_to_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch/alice")

    paths = [SharedFolder(path).path for path in ("jobs", "~/jobs", "$SCRATCH/jobs", "/jobs")]
    assert [str(path) for path in paths] == [f"{tmp_path}/jobs", f"{tmp_path}/jobs", "/scratch/alice/jobs", "/jobs"]

    with pytest.raises(ExecutorError, match=r"\$NOWHERE.* is not set"):
        SharedFolder("$NOWHERE/jobs")


# --- claims and ends -------------------------------------------------------------------------------------------------


def test_a_runner_that_comes_late_finds_that_nobody_owns_its_job(folder: SharedFolder, start: Start) -> None:
    job, _, location = uploaded(folder, 1)
    assert folder.find_claim(job, location) is None

    assert folder.bar(job, location) is None
    assert start(location).wait(20) == 0

    assert folder.files(job, location).keys() == {".process"}
    assert os.readlink(f"{location}/results/{TICKET}.process") == NOBODY
    assert folder.find_claim(job, location) is None


def test_a_runner_that_came_first_is_named(folder: SharedFolder, start: Start) -> None:
    job, _, location = uploaded(folder, 1, seconds=60)
    process = start(location)
    wait_until(lambda: folder.find_claim(job, location) is not None)
    owner = folder.bar(job, location)

    assert owner == folder.find_claim(job, location)
    assert owner is not None
    assert ProcessHandle.parse(owner).pid == process.pid
    assert ProcessHandle.parse(owner).is_alive() is True
    assert not folder.has_ended(job, location)


def test_an_end_is_seen_though_its_file_is_a_link_to_nothing(folder: SharedFolder, start: Start) -> None:
    job, _, location = uploaded(folder, 1)
    start(location).wait(20)

    assert folder.has_ended(job, location)
    assert not os.path.exists(f"{location}/results/{TICKET}.ended")
    assert b'"COMPLETED"' in (folder.fetch(location) / f"{TICKET}.1.outcome").read_bytes()


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_released_never_begins(folder: SharedFolder, start: Start, keep: bool) -> None:
    job, _, location = uploaded(folder, 1)
    folder.release(job, location, keep=keep)
    folder.release(job, None, keep=keep)

    assert os.path.exists(location) == keep
    assert os.listdir(folder.path) == ([TICKET] if keep else [])

    if keep:
        start(location).wait(20)
        assert folder.files(job, location).keys() == {".process"}


def test_a_job_that_cannot_be_barred_is_removed_all_the_same(folder: SharedFolder) -> None:
    job, _, location = uploaded(folder, 3)
    # As where there is no room for another file.
    Path(location, "results").touch()

    with pytest.raises(OSError, match="results"):
        folder.release(job, location, keep=True)

    folder.release(job, location)
    assert os.listdir(folder.path) == []


def test_what_was_never_uploaded_is_released(folder: SharedFolder) -> None:
    folder.release(job_of(1)[0], None)


# --- packs and output ------------------------------------------------------------------------------------------------


def test_members_of_a_pack_end_and_the_others_go_on(folder: SharedFolder, start: Start) -> None:
    job, _, location = uploaded(folder, 1, 2, 3, seconds=60)
    process = start(location)

    over = ProcessHandle.of(process.pid)

    async def cancel() -> Path:
        await folder.cancel_members(job, location, [3], over.wait())
        return await folder.cancel_members(job, location, [1], over.wait())

    results = asyncio.run(cancel())

    assert over.is_alive() is True
    assert b'"TERMINATED"' in (results / f"{TICKET}.1.outcome").read_bytes()
    assert b'"TERMINATED"' in (results / f"{TICKET}.3.outcome").read_bytes()


def test_members_of_a_job_that_is_over_have_ended(folder: SharedFolder) -> None:
    job, _, location = uploaded(folder, 1, 2)
    (Path(location) / "results").mkdir()

    async def cancel() -> Path:
        return await asyncio.wait_for(folder.cancel_members(job, location, [1], asyncio.sleep(0.01)), 10)

    assert asyncio.run(cancel()) == folder.fetch(location)


def test_that_it_is_over_cannot_be_learnt_is_an_error(folder: SharedFolder) -> None:
    job, _, location = uploaded(folder, 1, 2)

    async def fail() -> None:
        raise ConnectionError("the daemon has gone")

    with pytest.raises(ConnectionError, match="the daemon has gone"):
        asyncio.run(folder.cancel_members(job, location, [1], fail()))


def test_what_runs_is_followed(folder: SharedFolder) -> None:
    job, reports, location = uploaded(folder, 1, 2)
    results = folder.fetch(location)
    results.mkdir()

    async def follow() -> None:
        async with folder.following(job, location):
            (results / f"{TICKET}.47.stdout").write_text("one")
            await until(lambda: reports.output == [(1, "one", "")])
            (results / f"{TICKET}.1.outcome").write_bytes(outcome())
            await until(lambda: bool(reports.results))
            # A file system that fails for a while ends nothing.
            results.rename(results.with_name("away"))
            results.write_text("no folder")
            await asyncio.sleep(0.1)
            results.unlink()
            results.with_name("away").rename(results)
            (results / f"{TICKET}.47.stdout").write_text("two more")
            await until(lambda: (2, "two more", "") in reports.output)

    asyncio.run(follow())

    assert reports.results == [{f"{TICKET}.1.outcome": results / f"{TICKET}.1.outcome"}]


def test_following_leaves_the_errors_of_who_waits_alone(folder: SharedFolder) -> None:
    job, _, location = uploaded(folder, 1)

    async def follow() -> None:
        async with folder.following(job, location):
            raise ConnectionError("the daemon has gone")

    with pytest.raises(ConnectionError, match="the daemon has gone"):
        asyncio.run(follow())


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await asyncio.sleep(0.01)
