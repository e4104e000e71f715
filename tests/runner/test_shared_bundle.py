"""A job that several runners share: a bundle needs nothing for that but a folder that all of them see."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from probes import alive, wait_until
from pythons import PYTHONS, python_or_skip

from covalent_core._compose.pickling import dumps
from covalent_core._executors.bundle import pack
from covalent_core._model.job import Job, TaskCall

#: Starts some runners, and leaves word of each that has ended in whatever way.
START = """
for runner in $(seq {count}); do
    (RUNNER=$runner {python} -I -S bundle.pyz --share RUNNER; : > results/ct-ticket-3-0.task-$runner.over) &
done
wait
"""

OUTPUT = "the output of another node"


def note(folder: str, name: str) -> None:
    with open(f"{folder}/begun", "a") as file:
        file.write(f"{name} {os.getpid()}\n")


def hold(folder: str, name: str, after: Any = None) -> str:
    """Go on until there is a file ``go``; SIGTERM is what a task can see of its end."""
    import time

    def clean_up(signum: int, frame: Any) -> None:
        open(f"{folder}/cleaned-{name}", "w").close()
        sys.exit(1)

    signal.signal(signal.SIGTERM, clean_up)
    note(folder, name)

    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)

    return name


def place(folder: str, name: str) -> str:
    note(folder, name)
    return os.getcwd()


def meet(folder: str, name: str) -> str:
    """Go on until another node has begun, in another runner."""
    import time

    note(folder, name)

    while open(f"{folder}/begun").read().count("\n") < 2:
        time.sleep(0.01)

    return name


def join(folder: str, *parts: str) -> str:
    note(folder, "join")
    return "".join(parts)


def task(node_id: int, function: Any, *arguments: Any, needs: tuple[int, ...] = ()) -> TaskCall:
    """Return a node of a job; it is called with the outputs of those that it needs as well."""
    places = [object() for _ in needs]
    call = dumps(((*arguments, *places), {}), lambda value: places.index(value) if value in places else None)
    return TaskCall(node_id, function.__name__, by_value(function), call, (), list(needs), needs=needs)


def by_value(function: Any) -> bytes:
    module = sys.modules[function.__module__]

    if module.__name__ == "builtins":
        return cloudpickle.dumps(function)

    cloudpickle.register_pickle_by_value(module)

    try:
        return cloudpickle.dumps(function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def start(folder: Path, *tasks: TaskCall, count: int = 3, python: str = sys.executable) -> subprocess.Popen[bytes]:
    job = Job("a-dispatch", "ct-ticket-3-0", 0, tasks, workdir="..")
    folder = folder / "job"
    folder.mkdir(exist_ok=True)
    (folder / "bundle.pyz").write_bytes(pack(job))
    command = [python, "-I", "-S", "bundle.pyz", "--spread", "sh", "-c", START.format(count=count, python=python)]
    return subprocess.Popen(command, cwd=folder, env={"PATH": os.environ["PATH"]})


def begun(folder: Path) -> dict[str, int]:
    """Return by name the process of each node that has begun."""
    file = folder / "begun"
    lines = file.read_text().splitlines() if file.exists() else []
    assert all(times == 1 for times in Counter(line.split()[0] for line in lines).values())
    return {name: int(pid) for name, pid in map(str.split, lines)}


def outcomes(folder: Path) -> dict[int, Any]:
    """Return by node its output, or else how it has ended."""
    found = {}

    for file in (folder / "job" / "results").glob("*.outcome"):
        header, _, content = file.read_bytes().partition(b"\n")
        status = json.loads(header)["status"]
        found[int(file.name.split(".")[1])] = pickle.loads(content) if status == "COMPLETED" else status

    return found


def has_ended(folder: Path) -> bool:
    return (folder / "job" / "results" / "ct-ticket-3-0.ended").is_symlink()


@pytest.mark.parametrize("name", PYTHONS)
def test_a_shared_bundle_needs_only_an_interpreter(tmp_path: Path, name: str) -> None:
    # A function that travels by value is bound to the Python that has pickled it.
    tasks = [task(0, max, 1, 2), task(1, max, 3, 4), task(2, divmod, needs=(1, 0))]

    assert start(tmp_path, *tasks, python=python_or_skip(name)).wait(40) == 0
    assert outcomes(tmp_path) == {0: 2, 1: 4, 2: (2, 0)}
    assert has_ended(tmp_path)


def test_runners_that_race_for_nodes_run_each_once(tmp_path: Path) -> None:
    tasks = [task(node_id, place, str(tmp_path), str(node_id)) for node_id in range(60)]

    assert start(tmp_path, *tasks, count=6).wait(60) == 0
    assert outcomes(tmp_path) == {node_id: str(tmp_path) for node_id in range(60)}
    assert begun(tmp_path).keys() == {str(node_id) for node_id in range(60)}


def test_nodes_that_need_nothing_of_each_other_run_side_by_side(tmp_path: Path) -> None:
    folder = str(tmp_path)
    first = [task(node_id, hold, folder, str(node_id)) for node_id in range(3)]
    lead = start(tmp_path, *first, task(3, join, folder, needs=(0, 1, 2)))
    wait_until(lambda: len(begun(tmp_path)) == 3)

    assert len(set(begun(tmp_path).values())) == 3
    assert not has_ended(tmp_path)
    (tmp_path / "go").touch()
    assert lead.wait(20) == 0
    assert outcomes(tmp_path)[3] == "012"


def test_what_needs_a_node_that_was_lost_does_not_begin(tmp_path: Path) -> None:
    folder = str(tmp_path)
    needing = [task(3, join, folder, needs=(1,)), task(4, join, folder, needs=(3,))]
    lead = start(tmp_path, *[task(node_id, hold, folder, str(node_id)) for node_id in range(3)], *needing)
    wait_until(lambda: len(begun(tmp_path)) == 3)
    worker = begun(tmp_path)["1"]
    os.kill(parent(worker), signal.SIGKILL)
    wait_until(lambda: not alive(worker))
    (tmp_path / "go").touch()

    # Nobody knows whether all of it is gone, so this does not say so.
    assert lead.wait(20) != 0
    assert not has_ended(tmp_path)
    assert outcomes(tmp_path) == {0: "0", 2: "2", 3: "SKIPPED", 4: "SKIPPED"}


def test_it_has_ended_only_if_every_runner_has_ended_by_itself(tmp_path: Path) -> None:
    folder = str(tmp_path)
    last = task(2, join, folder, needs=(1,))
    lead = start(tmp_path, task(0, meet, folder, "0"), task(1, hold, folder, "1"), last, count=2)
    wait_until(lambda: 0 in outcomes(tmp_path) and len(begun(tmp_path)) == 2)
    os.kill(parent(begun(tmp_path)["0"]), signal.SIGKILL)
    (tmp_path / "go").touch()

    assert lead.wait(20) != 0
    assert outcomes(tmp_path) == {0: "0", 1: "1", 2: "1"}
    assert not has_ended(tmp_path)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_sigterm_ends_what_runs_and_lets_nothing_begin(tmp_path: Path) -> None:
    lead = start(tmp_path, *[task(node_id, hold, str(tmp_path), str(node_id)) for node_id in range(6)])
    wait_until(lambda: len(begun(tmp_path)) == 3)
    lead.send_signal(signal.SIGTERM)

    assert lead.wait(20) == 0
    assert has_ended(tmp_path)
    assert not any(map(alive, begun(tmp_path).values()))
    assert begun(tmp_path).keys() == {"0", "1", "2"}
    assert sorted(file.name for file in tmp_path.glob("cleaned-*")) == ["cleaned-0", "cleaned-1", "cleaned-2"]
    assert [outcomes(tmp_path)[node_id] for node_id in (3, 4, 5)] == ["TERMINATED"] * 3


def test_a_runner_that_is_told_to_end_takes_no_further_node(tmp_path: Path) -> None:
    lead = start(tmp_path, *[task(node_id, hold, str(tmp_path), str(node_id)) for node_id in range(3)], count=1)
    wait_until(lambda: begun(tmp_path))
    os.kill(parent(begun(tmp_path)["0"]), signal.SIGTERM)

    assert lead.wait(20) == 0
    assert begun(tmp_path).keys() == {"0"}
    assert [outcomes(tmp_path)[node_id] for node_id in (1, 2)] == ["TERMINATED"] * 2


def test_a_node_that_waits_is_cancelled_alone(tmp_path: Path) -> None:
    lead = start(tmp_path, *[task(node_id, hold, str(tmp_path), str(node_id)) for node_id in range(3)], count=1)
    wait_until(lambda: begun(tmp_path))
    results = tmp_path / "job" / "results"
    (results / "part").write_text("[1]")
    (results / "part").rename(results / "ct-ticket-3-0.cancel")
    wait_until(lambda: outcomes(tmp_path) == {1: "TERMINATED"})
    (tmp_path / "go").touch()

    assert lead.wait(20) == 0
    assert outcomes(tmp_path) == {0: "0", 1: "TERMINATED", 2: "2"}
    assert begun(tmp_path).keys() == {"0", "2"}


def test_a_shared_bundle_started_twice_runs_once(tmp_path: Path) -> None:
    tasks = [task(node_id, hold, str(tmp_path), str(node_id)) for node_id in range(2)]
    first = start(tmp_path, *tasks)
    wait_until(lambda: len(begun(tmp_path)) == 2)
    second = start(tmp_path, *tasks)

    assert second.wait(20) == 0
    (tmp_path / "go").touch()
    assert first.wait(20) == 0
    assert outcomes(tmp_path) == {0: "0", 1: "1"}
