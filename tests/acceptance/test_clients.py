"""Clients come and go: scripts that exit at once, many at the same moment, a notebook with a running loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from probes import Stops, alive, arguments_of, dispatchers_of, kill_dispatcher, processes_of, wait_until
from tasks import finished, held, hold, let_go, tree

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._lock import is_served

SEED = """
import covalent_core as ct
import time

@ct.electron
def task_1(x):
    time.sleep(x)
    print("Task 1")
    return x

@ct.electron
def task_2(a, b):
    c = a + b
    time.sleep(c)
    print("Task 2")
    return c

@ct.electron
def task_3(a):
    time.sleep(2)
    print("Task 3")
    return a ** 2

@ct.lattice
def workflow(x):
    res_2 = task_2(task_1(10), x)
    for y in range(10):
        task_1(10)
    task_3(res_2)

dispatch_id = ct.dispatch(workflow)(5)
"""

NODES = [(0, "task_1", None), (1, ":parameter:10", 10), (2, "task_2", None), (3, ":parameter:5", 5)]
NODES += [node for n in range(4, 24, 2) for node in ((n, "task_1", None), (n + 1, ":parameter:10", 10))]
NODES += [(24, "task_3", None)]


def workers_of(home: Path) -> set[int]:
    """Return the processes that run tasks: below a guard and its supervisor, which are runners too, there is one."""
    runners = {pid for pid in processes_of(home) if "--serve" in arguments_of(pid)}
    below = {pid: parent_of(pid) for pid in runners}
    return {pid for pid, parent in below.items() if below.get(parent) in runners}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_how_to_runs_as_written_and_stops_what_runs(home: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", SEED + "print(dispatch_id)"], capture_output=True, text=True, check=True
    )
    dispatch_id = printed.stdout.strip()
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["status"] == Status.RUNNING)
    wait_until(lambda: workers_of(home))
    before = workers_of(home)

    text = str(ct.get_result(dispatch_id))
    assert text.startswith("\nLattice Result\n==============\nstatus: RUNNING\nresult: None\ninput args: ['5']\n")
    assert "\ninput kwargs: {}\nerror: None\n\nstart_time: " in text
    assert text.endswith("\n".join(["------------", *(f"{name}({n}): {out}" for n, name, out in NODES), ""]))

    assert str(ct.cancel(dispatch_id)) == f"Dispatch {dispatch_id} canceled."
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.CANCELLED
    assert not any(alive(pid) for pid in before)
    assert result.get_all_node_outputs() == {f"{name}({n}): "[:-2]: out for n, name, out in NODES}
    ends = {result.get_node_result(n)["status"] for n, name, out in NODES if out is None}
    assert ends == {Status.CANCELLED}


def test_a_notebook_with_a_running_loop(home: Path) -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(env=dict(os.environ))
    outputs: list[str] = []

    def run(cell: str) -> str:
        outputs.clear()
        client.execute_interactive(cell, timeout=30, output_hook=lambda m: outputs.append(str(m["content"])))
        return "".join(outputs)

    try:
        run("import asyncio; asyncio.get_running_loop()")
        run(SEED)
        shown = run("ct.cancel(dispatch_id)")
        state = run("print(ct.get_result(dispatch_id, wait=True, timeout=60).status)")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    assert " canceled.'" in shown
    assert "CANCELLED" in state


@pytest.mark.long("starts ten interpreters that import everything")
def test_ten_clients_at_the_same_moment_in_an_empty_home(home: Path) -> None:
    script = """
import covalent_core as ct

@ct.electron
def double(x):
    return 2 * x

@ct.lattice
def workflow(x):
    return double(x)

print(ct.dispatch(workflow)(21))
"""
    clients = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(10)]
    ids = [client.communicate(timeout=60)[0].strip() for client in clients]
    results = [ct.get_result(dispatch_id, wait=True, timeout=60) for dispatch_id in ids]

    assert [result.result for result in results] == [42] * 10
    wait_until(lambda: len(dispatchers_of(home)) == 1)


def test_an_idle_dispatcher_ends_and_leaves_no_process(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "0.2")

    @ct.lattice
    def workflow():
        return ct.electron(abs)(-1)

    assert ct.dispatch_sync(workflow)().result == 1
    wait_until(lambda: not processes_of(home))
    assert ct.dispatch_sync(workflow)().result == 1


def test_a_dispatcher_that_ends_when_idle_never_ends_with_work(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("COVALENT_CORE_IDLE_SECONDS", "0")

    @ct.lattice
    def workflow(count):
        import time

        return [ct.electron(time.sleep)(0.01) for _ in range(count)]

    assert ct.dispatch_sync(workflow)(120).result == [None] * 120
    wait_until(lambda: not processes_of(home))
    assert "Traceback" not in (home / "dispatcher.log").read_text()


def test_a_dispatcher_told_to_end_leaves_the_work_to_the_next(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def wait_for(file):
        import time

        while not os.path.exists(file):
            time.sleep(0.01)

        return os.getpid()

    @ct.lattice
    def workflow(file):
        return wait_for(file)

    dispatch_id = ct.dispatch(workflow)(str(tmp_path / "go"))
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["status"] == Status.RUNNING)
    (dispatcher,) = dispatchers_of(home)
    handle = ct.get_result(dispatch_id).get_node_result(0)["job_handle"]
    os.kill(dispatcher, 15)
    wait_until(lambda: not alive(dispatcher))
    (tmp_path / "go").touch()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.COMPLETED
    assert result.get_node_result(0)["job_handle"] == handle
    assert "Traceback" not in (home / "dispatcher.log").read_text()


def test_a_dispatcher_told_to_end_does_so_though_blocking_hooks_wait(
    home: Path, tmp_path: Path, stops: Stops, installed_examples: None
) -> None:
    (tmp_path / "work").mkdir()

    @ct.lattice(executor=ct.executor.FolderExecutor(folder=str(tmp_path / "work")))  # type: ignore[attr-defined]
    def workflow(folder):
        return held(folder, "task")

    # A process as a user's: the dispatchers of these tests end in their own way.
    dispatcher = subprocess.Popen([sys.executable, "-m", "covalent_core", "serve"])
    wait_until(lambda: is_served(find_home()))
    dispatch_id = ct.dispatch(workflow)(tmp_path)
    wait_until(lambda: ("run", "called") in {(call.hook, call.event) for call in stops.calls()})
    task = tree(tmp_path, "task")
    dispatcher.terminate()

    assert dispatcher.wait(timeout=10) == 0
    assert all(alive(pid) for pid in task)

    let_go(tmp_path, "task")
    assert finished(dispatch_id).result == "task"


def test_a_task_that_dispatches_starts_no_dispatcher_below_itself(home: Path, tmp_path: Path) -> None:
    @ct.electron
    def outer(folder):
        from covalent_core._client import spawn

        @ct.lattice
        def inner(folder):
            return ct.electron(hold)(folder, "task")

        dispatch_id = ct.dispatch(inner)(folder)
        (folder / "dispatched").touch()
        wait_until((folder / "killed").exists)
        spawn.START_SECONDS = 0.2
        spawn.warnings.simplefilter("always")
        ct.get_result(dispatch_id)
        (folder / "looked").touch()
        return ct.get_result(dispatch_id, wait=True).result

    @ct.lattice
    def workflow(folder):
        return outer(folder)

    dispatch_id = ct.dispatch(workflow)(tmp_path)
    wait_until((tmp_path / "dispatched").exists)
    kill_dispatcher(home)
    (tmp_path / "killed").touch()
    wait_until((tmp_path / "looked").exists)
    assert dispatchers_of(home) == []

    # Who is outside brings it back, and the task goes on with that.
    let_go(tmp_path, "task")
    result = finished(dispatch_id)
    assert result.result == "task"
    stderr = result.get_node_result(0)["stderr"]
    assert f"no dispatcher serves {home}" in stderr
    assert "part of a task" in stderr


def test_functions_of_a_module_beside_the_script_need_no_installation(home: Path, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR = 3\n\ndef triple(x):\n    return FACTOR * x\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import covalent_core as ct\nimport beside\n\n"
        "@ct.lattice\ndef workflow(x):\n    return ct.electron(beside.triple)(x)\n\n"
        "print(ct.dispatch_sync(workflow)(4).result)\n"
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout == "12\n"
