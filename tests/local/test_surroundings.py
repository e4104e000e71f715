"""What a task has changed in its process is not met by the next one of the same worker, nor by the next of its pack."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.executor import LocalExecutor


def look() -> dict[str, Any]:
    """Return what a task finds."""
    import logging
    import resource
    import signal
    import sys

    mask = os.umask(0o022)
    os.umask(mask)
    return {
        "umask": mask,
        "folder": os.getcwd(),
        "path": list(sys.path),
        "environment": {name: value for name, value in os.environ.items() if name != "COVALENT_CORE_SUPERVISOR"},
        "handlers": {number: str(signal.getsignal(number)) for number in (signal.SIGALRM, signal.SIGUSR1)},
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "recursion": sys.getrecursionlimit(),
        "logging": (logging.getLogger().level, logging.getLogger().handlers),
        "nice": os.nice(0),
        "limit": resource.getrlimit(resource.RLIMIT_CORE),
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    }


def set_alarm() -> None:
    import signal

    signal.alarm(3600)


def handle_signals() -> None:
    import signal

    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def configure_logging() -> None:
    import logging

    logging.basicConfig(filename=os.devnull, level="DEBUG")


def limit_recursion() -> None:
    import sys

    sys.setrecursionlimit(200)


def lose_the_path() -> None:
    import sys

    sys.path.clear()


def limit_core_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def block_signals() -> None:
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])


CAN_BE_PUT_BACK = {
    "umask": lambda: os.umask(0o777),
    "alarm": set_alarm,
    "handlers": handle_signals,
    "logging": configure_logging,
    "recursion": limit_recursion,
    "path": lose_the_path,
    "environment": lambda: os.environ.update(LEFT="behind", PATH="/nowhere"),
    "folder": lambda: os.chdir("/"),
}
CANNOT = {
    "nice": lambda: os.nice(5),
    "limits": limit_core_files,
    "blocked": block_signals,
    "what it is put back with": lambda: setattr(random, "seed", None),
}


def first_and_second_look(leave: Any, pack: int | None) -> tuple[Any, Any]:
    executor = LocalExecutor(max_workers=1)

    @ct.lattice(executor=executor, pack=pack)
    def workflow() -> Any:
        first = ct.electron(look)()
        left = ct.electron(leave)()
        ct.wait(left, first)
        second = ct.electron(look)()
        ct.wait(second, left)
        return first, second

    result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    assert result.status == Status.COMPLETED, result.error
    first, second = result.result
    return first, second


@pytest.mark.parametrize("leave", [*CAN_BE_PUT_BACK.values(), *CANNOT.values()], ids=[*CAN_BE_PUT_BACK, *CANNOT])
def test_the_next_task_of_the_worker_finds_all_as_it_was(home: Path, leave: Any) -> None:
    first, second = first_and_second_look(leave, None)

    assert second == first


@pytest.mark.parametrize("leave", CAN_BE_PUT_BACK.values(), ids=CAN_BE_PUT_BACK)
def test_the_next_task_of_a_pack_finds_all_as_it_was(home: Path, leave: Any) -> None:
    first, second = first_and_second_look(leave, 3)

    assert second == first


@pytest.mark.parametrize("pack", [None, 2])
def test_a_seed_is_that_of_one_task(home: Path, pack: int | None) -> None:
    def seed() -> None:
        random.seed(7)

    def draw(_: None) -> float:
        return random.random()

    @ct.lattice(executor=LocalExecutor(max_workers=1), pack=pack)
    def workflow() -> Any:
        return ct.electron(draw)(ct.electron(seed)())

    result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    assert result.status == Status.COMPLETED, result.error
    assert result.result != random.Random(7).random()


def test_numpy_is_seeded_anew_where_a_task_has_imported_it(home: Path) -> None:
    numpy = pytest.importorskip("numpy")

    def seed() -> None:
        numpy.random.seed(7)

    def draw(_: None) -> float:
        return float(numpy.random.random())

    @ct.lattice(executor=LocalExecutor(max_workers=1))
    def workflow() -> Any:
        return ct.electron(draw)(ct.electron(seed)())

    result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    assert result.status == Status.COMPLETED, result.error
    assert result.result != numpy.random.RandomState(7).random()
