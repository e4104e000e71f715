"""What a function leaves behind costs neither its outcome nor anything of its own."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import outcome_in, outcome_of

from covalent_core.errors import TaskCancelledError


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY])
def test_the_log_to_which_it_points_its_output_stays_its_own(tmp_path: Path, flags: int) -> None:
    log = str(tmp_path / "log")
    Path(log).write_text("from another run\n")

    def simulate():
        print("before")
        log_file = os.open(log, flags | os.O_APPEND)
        os.dup2(log_file, 1)
        os.dup2(log_file, 2)
        os.system("echo from a child")
        print("after")
        return 7

    header, content = outcome_of(tmp_path, simulate)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == 7
    assert Path(log).read_text() == "from another run\nfrom a child\nafter\n"
    assert header["stdout"] == "before\n"


def test_the_next_task_writes_where_it_should(tmp_path: Path) -> None:
    def mute():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = None

    def say():
        print("heard")

    outcome_of(tmp_path, mute, say)
    header, _ = outcome_in(tmp_path, 4)
    assert header["stdout"] == "heard\n"


def close_output() -> int:
    os.close(1)
    os.close(2)
    return 7


def close_others() -> int:
    os.closerange(3, 256)
    return 7


def close_streams() -> int:
    sys.stdout.close()
    sys.stderr.close()
    return 7


def remove_folder() -> int:
    import shutil
    import tempfile

    os.chdir(tempfile.mkdtemp())
    shutil.rmtree(os.getcwd())
    return 7


def fork() -> int:
    """Return twice, and the child first."""
    child = os.fork()

    if child == 0:
        return 8

    os.waitpid(child, 0)
    return 7


def fork_and_raise() -> int:
    child = os.fork()

    if child == 0:
        raise ValueError("in the child")

    os.waitpid(child, 0)
    return 7


@pytest.mark.parametrize(
    "function",
    [close_output, close_others, close_streams, remove_folder, fork, fork_and_raise],
    ids=lambda f: f.__name__,
)
def test_a_function_that_returns_has_completed(tmp_path: Path, function: Callable[[], int]) -> None:
    header, content = outcome_of(tmp_path, function)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == 7
    assert ("ValueError: in the child" in header["stderr"]) == (function is fork_and_raise)


class ExitsError(Exception):
    def __reduce__(self) -> Any:
        sys.exit(3)


class UnspeakableError(TaskCancelledError):
    def __str__(self) -> str:
        sys.exit(3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ExitsError, "ExitsError: no"),
        (UnspeakableError, "UnspeakableError, which cannot be shown: that raises SystemExit"),
    ],
)
def test_an_error_that_ends_the_process_when_it_is_kept_is_an_error(
    tmp_path: Path, error: type[Exception], said: str
) -> None:
    def fail():
        raise error("no")

    header, _ = outcome_of(tmp_path, fail)

    assert header["status"] == "FAILED"
    assert header["ended_by"] is None
    assert said in header["error"]


def test_much_that_was_written_before_a_crash_does_not_cost_the_outcome(tmp_path: Path) -> None:
    def crash():
        # Each of these bytes is six in an outcome.
        os.write(1, bytes(65536))
        os.write(2, bytes(65536))
        os._exit(3)

    header, _ = outcome_of(tmp_path, crash)
    assert header["ended_by"] == "exit 3"
    assert (len(header["stdout"]), len(header["stderr"])) == (65536, 65536)
