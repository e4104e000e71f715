"""What the tests let jobs run, and how they look at it. The functions are nested so that they travel by value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from probes import wait_until

import covalent_core as ct
from covalent_core_awsbatch import AWSBatchExecutor

#: How many jobs those tests have that want many. All share the processors of this machine.
JOBS = int(os.environ.get("COVALENT_CORE_TEST_JOBS", "60"))


def tasks() -> SimpleNamespace:
    def note(folder, name) -> None:
        with open(f"{folder}/begun", "a") as file:
            file.write(f"{name}\n")

    def work(folder, name="0"):
        """Go on until there is a file ``go``."""
        import os
        import time

        note(folder, name)

        while not os.path.exists(f"{folder}/go"):
            time.sleep(0.02)

        return name

    def quick(folder, name="0"):
        note(folder, name)
        return name

    def fail(folder, name="0"):
        """Go on until there is a file ``go``, and fail."""
        work(folder, name)
        raise ValueError(f"no {name}")

    def beat(folder, name="0"):
        """Write the time down as long as it lives."""
        import time

        note(folder, name)

        while True:
            with open(f"{folder}/alive", "w") as file:
                file.write(str(time.time()))

            time.sleep(0.05)

    def environment(names):
        import os

        return [os.environ.get(name) for name in names]

    return SimpleNamespace(work=work, quick=quick, fail=fail, beat=beat, environment=environment)


def dispatch(executor: Any, function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Dispatch a workflow of one task."""

    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function, **options)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def dispatch_many(executor: Any, function: Callable[..., Any], folder: Path, count: int) -> str:
    """Dispatch a workflow of many tasks that are ready together."""

    @ct.lattice(executor=executor)
    def workflow(count: int) -> Any:
        return [ct.electron(function)(str(folder), str(number)) for number in range(count)]

    return ct.dispatch(workflow)(count)


def run_in_another_home(
    home: Path, options: Mapping[str, Any], setting: str, count: int
) -> list[tuple[object, str | None]]:
    """Run one task after the other with a dispatcher of its own; return what they found set, and what went wrong."""
    os.environ["COVALENT_CORE_HOME"] = str(home)
    executor = AWSBatchExecutor(**options, poll_freq=1.0, variables={"SETTING": setting}, tags={"setting": setting})
    dispatch_ids = [dispatch(executor, tasks().environment, ["SETTING"]) for _ in range(count)]
    ends = [end(dispatch_id, 300) for dispatch_id in dispatch_ids]
    return [(result.result and result.result[0], result.error) for result in ends]


def end(dispatch_id: str, seconds: float = 60.0) -> ct.Result:
    """Wait for the end of a dispatch."""
    return ct.get_result(dispatch_id, wait=True, timeout=seconds)


def node(dispatch_id: str, node_id: int = 0) -> dict[str, Any]:
    return ct.get_result(dispatch_id).get_node_result(node_id)


def begun(folder: Path) -> list[str]:
    """Return the names of the tasks that have begun, one for each time."""
    file = folder / "begun"
    return file.read_text().split() if file.exists() else []


def until_begun(folder: Path, count: int = 1, seconds: float = 40.0) -> None:
    wait_until(lambda: len(begun(folder)) >= count, seconds)


def until_waiting(dispatch_id: str, text: str, seconds: float = 30.0) -> None:
    wait_until(lambda: text in str(node(dispatch_id)["waiting"]), seconds)


def electrons(result: ct.Result) -> list[dict[str, Any]]:
    """Return what became of the tasks of a dispatch, in their order."""
    return [result.get_node_result(node_id) for name, node_id in result.nodes() if not name.startswith(":")]


def lasts(seconds: float, condition: Callable[[], object]) -> None:
    latest = time.monotonic() + seconds

    while time.monotonic() < latest:
        assert condition()
        time.sleep(0.05)
