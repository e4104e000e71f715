"""What a task writes can be read while it runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from probes import kill_dispatcher, wait_until
from tasks import calls, finished

import covalent_core as ct
from covalent_core._runner.processes import children
from covalent_core.errors import ResultTimeoutError


@ct.electron
def talk(folder: Path, name: str) -> str:
    """Say one thing after the other, each when it may."""
    for number in range(3):
        print(f"{name} {number}")

        while not (folder / f"{name}-{number}").exists():
            time.sleep(0.005)

    return name


@ct.electron
def next_to(name: str, folder: Path) -> str:
    return str(talk(folder, "second"))


def output(dispatch_id: str, node_id: int = 0) -> str:
    return str(ct.get_result(dispatch_id).get_node_result(node_id)["stdout"])


def let(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_it_grows_while_the_task_runs_and_another_dispatcher_shows_it_too(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(ct.lattice(talk))(tmp_path, "first")
    wait_until(lambda: output(dispatch_id) == "first 0\n")
    let(tmp_path, "first-0")
    wait_until(lambda: output(dispatch_id) == "first 0\nfirst 1\n")
    kill_dispatcher(home)
    let(tmp_path, "first-1")

    with pytest.raises(ResultTimeoutError):
        # Whoever waits brings a dispatcher back.
        ct.get_result(dispatch_id, wait=True, timeout=0.01)

    everything = "first 0\nfirst 1\nfirst 2\n"
    wait_until(lambda: output(dispatch_id) == everything)
    let(tmp_path, "first-2")

    assert finished(dispatch_id).result == "first"
    assert output(dispatch_id) == everything


def test_in_a_pack_each_has_its_own(home: Path, tmp_path: Path) -> None:
    @ct.lattice(pack="chain")
    def workflow(folder: Path) -> str:
        return next_to(talk(folder, "first"), folder)

    let(tmp_path, "first-0", "first-1", "first-2", "second-0")
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    first, second = calls(ct.get_result(dispatch_id))
    wait_until(lambda: output(dispatch_id, second) == "second 0\nsecond 1\n")

    assert output(dispatch_id, first) == "first 0\nfirst 1\nfirst 2\n"
    let(tmp_path, "second-1", "second-2")
    assert finished(dispatch_id).result == "second"


def test_what_was_seen_stays_where_the_end_says_nothing(home: Path, tmp_path: Path) -> None:
    dispatch_id = ct.dispatch(ct.lattice(talk))(tmp_path, "first")
    wait_until(lambda: output(dispatch_id) == "first 0\n")
    handle = ct.get_result(dispatch_id).get_node_result(0)["job_handle"]
    os.kill(children(int(handle.split(".")[0]))[0], signal.SIGKILL)
    result = finished(dispatch_id)

    assert "supervised the task was ended by signal 9" in result.error
    assert output(dispatch_id) == "first 0\n"


def test_what_one_attempt_has_written_is_not_that_of_the_next(home: Path, tmp_path: Path) -> None:
    @ct.electron(retries=1)
    def once_loud(folder: Path) -> None:
        if ct.current_task().attempt == 0:
            print("loud")

            while not (folder / "go").exists():
                time.sleep(0.005)

            raise ValueError("not yet")

    dispatch_id = ct.dispatch(ct.lattice(once_loud))(tmp_path)
    wait_until(lambda: output(dispatch_id) == "loud\n")
    let(tmp_path, "go")
    node = finished(dispatch_id).get_node_result(0)

    assert node["status"] == ct.Status.COMPLETED
    assert node["stdout"] == ""
    assert [attempt["stdout"] for attempt in node["attempts"]] == ["loud\n"]


def test_what_is_printed_without_end_does_not_fill_the_disk(home: Path, tmp_path: Path) -> None:
    def flood(folder: Path) -> None:
        import subprocess

        for _ in range(40):
            print("x" * 2**20)

        subprocess.run(["head", "-c", str(40 * 2**20), "/dev/zero"])
        print("last words")

        while not (folder / "go").exists():
            time.sleep(0.005)

        print("the end")

    dispatch_id = ct.dispatch(ct.lattice(ct.electron(flood)))(tmp_path)
    wait_until(lambda: output(dispatch_id).endswith("last words\n"))
    # The file is as long as what has been written, and takes as much of the disk as what is kept.
    (file,) = (file for file in (home / "jobs").glob("*.stdout") if file.stat().st_size)
    assert file.stat().st_size > 80 * 2**20
    wait_until(lambda: file.stat().st_blocks * 512 < 5 * 2**20)
    let(tmp_path, "go")
    finished(dispatch_id)

    assert output(dispatch_id).endswith("last words\nthe end\n")
