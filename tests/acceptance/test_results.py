"""What a researcher gets back: values of any size, errors with their cause, and what the tasks wrote."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import (
    DispatchError,
    DispatchNotFoundError,
    NodeNotFoundError,
    ResultTimeoutError,
    TaskRuntimeError,
)


@ct.electron
def divide(a, b):
    print("dividing", a)
    print("careful", file=sys.stderr)
    return a / b


@ct.electron
def same(*values):
    return values if len(values) != 1 else values[0]


def test_a_failure_keeps_its_cause_and_lets_the_rest_go_on(home: Path) -> None:
    @ct.lattice
    def workflow():
        same(divide(1, 0))
        return divide(6, 3)

    result = ct.dispatch_sync(workflow)()
    ids = {name.partition("(")[0]: node_id for name, node_id in result.nodes() if node_id > 0}
    failed, other = result.get_node_result(0), result.get_node_result(ids["divide"])

    assert result.status == Status.FAILED
    assert result.error == "divide(0): ZeroDivisionError: division by zero"
    assert result.result is None
    assert other["output"] == 2.0
    assert failed["status"] == Status.FAILED
    assert failed["stdout"] == "dividing 1\n"
    assert failed["stderr"] == "careful\n"
    assert failed["error"].startswith("Traceback (most recent call last):\n")
    assert "in divide" in failed["error"]
    assert "_runner" not in failed["error"]
    downstream = result.get_node_result(ids["same"])
    assert downstream["status"] == Status.CANCELLED
    assert downstream["error"] == "upstream node 0 (divide) failed"

    with pytest.raises(TaskRuntimeError) as caught:
        result.raise_for_error()

    assert caught.value.node_id == 0
    assert caught.value.dispatch_id == result.dispatch_id
    assert caught.value.step == "run"
    assert caught.value.stderr == "careful\n"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "in divide" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda: os._exit(3), "the process of the task ended with exit code 3 before the function had returned"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "the process of the task was ended by signal 9 (SIGKILL)"),
        (lambda: sys.exit("bye"), "SystemExit: bye"),
        (lambda: (_ for _ in ()), "TypeError: cannot pickle 'generator' object"),
    ],
)
def test_every_way_to_end_badly_is_said_in_words(home: Path, way, words: str) -> None:
    @ct.lattice
    def workflow():
        return ct.electron(way)()

    result = ct.dispatch_sync(workflow)()
    assert result.status == Status.FAILED
    assert words in result.get_node_result(0)["error"]


def test_an_error_with_half_a_character_is_kept(home: Path) -> None:
    """What `os.fsdecode` gives for the name of a file that is no UTF-8."""

    @ct.electron
    def fail():
        print("half: \udc80")
        raise ValueError("no such file: \udc80.txt")

    @ct.lattice
    def workflow():
        return fail()

    result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    assert result.status == Status.FAILED
    assert r"ValueError: no such file: \udc80.txt" in result.get_node_result(0)["error"]


def test_large_values_and_outputs(home: Path) -> None:
    import numpy as np

    @ct.electron
    def ones(size):
        print("x" * 100_000)
        return np.ones(size)

    @ct.lattice
    def workflow(array):
        return same(ones(1_000_000), array)

    result = ct.dispatch_sync(workflow)(np.arange(500_000))
    first, second = result.result

    assert first.sum() == 1_000_000
    assert (second == np.arange(500_000)).all()
    assert result.get_node_result(0)["stdout"] == "x" * (64 * 1024 - 1) + "\n"
    assert not list((home / "jobs").glob("ct-*"))


def test_types_arrive_as_they_were_sent(home: Path) -> None:
    @ct.lattice
    def workflow(a, *args, b=1, **kwargs):
        one = same(1)
        return {"tuple": same((one, 2)), "set": same({one, 3}), "nested": [one, {"k": (one, args)}], "b": (b, kwargs)}

    value = ct.dispatch_sync(workflow)(0, 7, b=2, c=3).result
    assert value == {"tuple": (1, 2), "set": {1, 3}, "nested": [1, {"k": (1, (7,))}], "b": (2, {"c": 3})}


def test_taking_apart_and_computing(home: Path) -> None:
    @ct.lattice
    def workflow():
        a, b = same((4, 6))
        whole = same({"k": [1, 2, 3]})
        return a + b, 2 * a, b[()] if False else -a, whole["k"][0], whole["k"][1:], same(3 + 4j).imag, b // 4, 10 - b

    assert ct.dispatch_sync(workflow)().result == (10, 8, -4, 1, [2, 3], 4.0, 1, 4)


def test_coroutine_functions_run_too(home: Path) -> None:
    @ct.electron
    async def later(x):
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    @ct.lattice
    def workflow():
        return later(1)

    assert ct.dispatch_sync(workflow)().result == 2


def test_waiting_without_data(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def write(file):
        Path(file).write_text("done")

    @ct.electron
    def read(file):
        return Path(file).read_text()

    @ct.lattice
    def workflow(file):
        written = write(file)
        return ct.wait(read(file), [written])

    assert ct.dispatch_sync(workflow)(str(tmp_path / "file")).result == "done"


def test_tasks_run_where_and_as_the_executor_says(home: Path, tmp_path: Path) -> None:
    executor = ct.executor.LocalExecutor(workdir=str(tmp_path), environment={"COLOUR": "blue"})

    @ct.lattice(executor=executor)
    def workflow():
        return ct.electron(lambda: (os.getcwd(), os.environ["COLOUR"]))()

    assert ct.dispatch_sync(workflow)().result == (str(tmp_path), "blue")


def test_a_worker_is_as_clean_for_the_next_task(home: Path) -> None:
    @ct.electron
    def spoil(_):
        os.environ["SPOILT"] = "yes"
        os.chdir("/")
        sys.path.append("/spoilt")
        return os.getpid()

    @ct.electron
    def look(_):
        return os.getpid(), os.environ.get("SPOILT"), "/spoilt" in sys.path

    @ct.lattice(executor=ct.executor.LocalExecutor(max_workers=1))
    def workflow():
        first = spoil(0)
        return first, look(first)

    first, (second, *rest) = ct.dispatch_sync(workflow)().result
    assert first == second
    assert rest == [None, False]


def test_unknown_dispatches_and_nodes(home: Path) -> None:
    @ct.lattice
    def workflow():
        return same(1)

    result = ct.dispatch_sync(workflow)()

    with pytest.raises(DispatchNotFoundError) as caught:
        ct.get_result("nonsense")

    where = f"no dispatch 'nonsense' in {home}/store.sqlite; ct.list_dispatches() shows those that are there"
    assert str(caught.value) == where

    with pytest.raises(DispatchNotFoundError, match="nonsense"):
        ct.cancel("nonsense")

    with pytest.raises(NodeNotFoundError) as missing:
        ct.cancel(result.dispatch_id, task_ids=[0, 7, 9])

    assert str(missing.value) == (
        f"dispatch {result.dispatch_id!r} has no node 7, 9; its nodes are 0 to 1, as print(result) shows; "
        f"nothing was cancelled"
    )

    with pytest.raises(DispatchError) as mistyped:
        ct.cancel(result.dispatch_id, task_ids=["0"])

    assert str(mistyped.value) == "task_ids takes node ids, which are integers, not '0'"

    with pytest.raises(NodeNotFoundError, match="has no node 5"):
        result.get_node_result(5)


def test_waiting_has_a_limit(home: Path) -> None:
    @ct.lattice
    def workflow():
        import time

        return ct.electron(time.sleep)(30)

    dispatch_id = ct.dispatch(workflow)()

    with pytest.raises(ResultTimeoutError) as caught:
        ct.get_result(dispatch_id, wait=True, timeout=0.2)

    assert f"dispatch {dispatch_id!r} is " in str(caught.value)
    assert str(caught.value).endswith(" after 0.2 s; it goes on")
    assert ct.cancel(dispatch_id)


def test_listing(home: Path) -> None:
    @ct.lattice
    def workflow(x):
        return same(x)

    ids = [ct.dispatch_sync(workflow)(x).dispatch_id for x in range(3)]

    assert [result.dispatch_id for result in ct.list_dispatches()] == ids[::-1]
    assert [result.dispatch_id for result in ct.list_dispatches(limit=1)] == ids[-1:]
    assert ct.list_dispatches(status="RUNNING") == []
    assert len(ct.list_dispatches(status=[Status.COMPLETED, "FAILED"])) == 3

    with pytest.raises(DispatchError, match="'DONE' is not a valid Status; statuses are: NEW_OBJECT, DISPATCHING"):
        ct.list_dispatches(status="DONE")


def test_nothing_half_made_stays_of_a_dispatch_that_is_refused(home: Path) -> None:
    @ct.lattice
    def workflow():
        same(b"x" * 100_000)
        return same(threading.Lock())

    with pytest.raises(ct.CovalentError, match="argument 1 of electron 'same' cannot be pickled"):
        ct.dispatch(workflow)()

    assert ct.list_dispatches() == []
    assert list((home / "values").iterdir()) == []


def test_every_status_change_is_recorded(home: Path) -> None:
    from covalent_core._home import find_home
    from covalent_core._store.store import Store

    @ct.lattice
    def workflow():
        return same(1)

    result = ct.dispatch_sync(workflow)()
    changes = Store(find_home()).get_status_changes(result.dispatch_id)
    times = [change.at for change in changes]

    assert [change.status for change in changes if change.node_id == 0] == ["DISPATCHING", "RUNNING", "COMPLETED"]
    assert [change.status for change in changes if change.node_id is None] == ["RUNNING", "COMPLETED"]
    assert times == sorted(times)
    assert abs(times[-1] - result.end_time.timestamp()) < 1


def test_the_dispatcher_never_opens_a_value(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def poison(file):
        class Poison:
            def __reduce__(self):
                return exec, (f"import os, pathlib; pathlib.Path({file!r}).write_text(str(os.getpid()))",)

        return Poison()

    @ct.lattice
    def workflow(file):
        return poison(file)

    opened = tmp_path / "opened"
    result = ct.dispatch_sync(workflow)(str(opened))
    assert result.status == Status.COMPLETED
    assert not opened.exists()

    # The client is who opens it, and the value does write itself down when it is opened.
    assert result.result is None
    assert opened.read_text() == str(os.getpid())
