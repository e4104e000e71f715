"""A disk that is full when a task ends: its result waits for room, and if there is none, that is said."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

from bundles import TICKET, job_of, outcome_in, results, start
from probes import wait_until


def fill(folder: Path) -> Callable[[], bytes]:
    """Return a function that leaves no room on its disk, and has a result that is in its outcome."""
    filler = f"{folder}/filler"

    def fill_it() -> bytes:
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                return b"x" * 20_000

    return fill_it


def waits(folder: Path, node_id: int = 3) -> bool:
    """Return whether its runner has tried to write an outcome, and has not done so."""
    return (results(folder) / f"{TICKET}.{node_id}.outcome.part").exists()


def assert_lost(folder: Path, node_id: int = 3) -> None:
    header, content = outcome_in(folder, node_id)
    assert header["status"] == "FAILED"
    assert header["error"] == f"no space left in {results(folder)}; the result is lost"
    assert (header["stdout"], header["file"], content) == ("", False, b"")


def left(folder: Path) -> list[str]:
    return sorted(file.name for file in results(folder).iterdir())


def test_a_result_waits_for_room(small_disk: Path) -> None:
    runner = start(job_of(fill(small_disk)), small_disk, disk_PAUSE=0.05, reports_PAUSE=0.05, supervisor_PAUSE=0.05)
    wait_until(lambda: waits(small_disk))
    assert runner.poll() is None
    (small_disk / "filler").unlink()
    assert runner.wait(20) == 0
    header, content = outcome_in(small_disk)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == b"x" * 20_000
    assert left(small_disk) == [f"{TICKET}.{ending}" for ending in ("3.outcome", "ended", "process")]


def test_a_result_that_finds_no_room_is_said_to_be_lost(small_disk: Path) -> None:
    runner = start(job_of(fill(small_disk)), small_disk, supervisor_ROOM_SECONDS=0.3, reports_PAUSE=0.05)

    assert runner.wait(20) == 0
    assert_lost(small_disk)
    assert left(small_disk) == [f"{TICKET}.{ending}" for ending in ("3.outcome", "ended", "process")]


def test_who_is_told_to_end_does_not_wait_for_room(small_disk: Path) -> None:
    runner = start(job_of(fill(small_disk)), small_disk, reports_PAUSE=0.05)
    wait_until(lambda: waits(small_disk))
    runner.send_signal(signal.SIGTERM)

    assert runner.wait(20) == 0
    assert_lost(small_disk)
    assert (results(small_disk) / f"{TICKET}.ended").is_symlink()


def test_the_other_members_of_a_pack_go_on_meanwhile(small_disk: Path) -> None:
    filler = f"{small_disk}/filler"

    def free() -> str:
        os.unlink(filler)
        return "free"

    runner = start(job_of(fill(small_disk), free), small_disk)
    assert runner.wait(20) == 0
    assert pickle.loads(outcome_in(small_disk, 3)[1]) == b"x" * 20_000
    assert pickle.loads(outcome_in(small_disk, 4)[1]) == "free"


def test_every_member_without_room_is_said_to_be_lost(small_disk: Path) -> None:
    def more() -> bytes:
        return b"y" * 20_000

    runner = start(job_of(fill(small_disk), more, more), small_disk, supervisor_ROOM_SECONDS=0.3, reports_PAUSE=0.05)
    assert runner.wait(20) == 0

    for node_id in (3, 4, 5):
        assert_lost(small_disk, node_id)


def test_a_large_value_waits_for_room_as_well(small_disk: Path) -> None:
    filler = f"{small_disk}/filler"
    fill_it = fill(small_disk)

    def large() -> bytes:
        fill_it()
        return b"x" * 100_000

    runner = start(job_of(large), small_disk, disk_PAUSE=0.05)
    value = results(small_disk) / f"{TICKET}.3.value"
    wait_until(value.exists)
    assert runner.poll() is None
    os.unlink(filler)
    assert runner.wait(20) == 0
    header, _ = outcome_in(small_disk)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(value.read_bytes()) == b"x" * 100_000


def test_a_large_value_that_finds_no_room_is_an_error_of_its_task(small_disk: Path) -> None:
    runner = start(job_of(lambda: bytes(2_000_000)), small_disk, disk_ROOM_SECONDS=0.2, disk_PAUSE=0.05)
    assert runner.wait(20) == 0
    header, content = outcome_in(small_disk)

    assert header["status"] == "FAILED"
    assert f"OSError: [Errno 28] no space left in {results(small_disk)}; the result is lost" in header["error"]
    assert isinstance(pickle.loads(content), OSError)
    assert not (results(small_disk) / f"{TICKET}.3.value").exists()


def test_a_limit_on_the_size_of_files_is_not_waited_for(tmp_path: Path) -> None:
    def limit() -> bytes:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        return bytes(100_000)

    runner = start(job_of(limit), tmp_path)
    assert runner.wait(20) == 0
    header, _ = outcome_in(tmp_path)
    assert header["status"] == "FAILED"
    assert "File too large" in header["error"]
