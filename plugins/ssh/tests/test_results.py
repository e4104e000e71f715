"""A researcher runs tasks on another machine, and gets back what a task on this one would have given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pythons import python_or_skip
from tasks import dispatch_one, run_one

import covalent_core as ct
from covalent_core import Status
from covalent_core_ssh import SSHExecutor


def test_a_workflow_gives_its_result_and_leaves_nothing(far, line, executor) -> None:
    @ct.electron(executor=executor)
    def add(a, b):
        return a + b

    @ct.lattice
    def workflow(x):
        return add(add(x, 1), add(x, 2))

    result = ct.dispatch_sync(workflow)(10)

    assert result.result == 23
    assert line.connections == 1
    assert far.files() == []
    assert far.runners() == []


def test_the_log_of_the_dispatcher_is_silent_when_all_is_well(home, executor) -> None:
    assert run_one(executor, lambda: 1).result == 1
    assert (home / "dispatcher.log").read_text() == ""


def test_a_task_is_outside_of_our_session_and_knows_where_it_is(far, executor) -> None:
    result = run_one(executor, lambda: (os.getsid(0), os.getppid(), os.getcwd(), os.environ["HOME"], sys.argv[1:]))
    session, _, folder, home, arguments = result.result

    assert session not in (os.getsid(0), os.getppid())
    assert folder == str(far.home / "covalent-workdir")
    assert home == str(far.home)
    assert arguments == []


def test_an_exception_comes_back_with_its_traceback_and_what_was_printed(executor) -> None:
    def fail():
        print("to stdout")
        print("to stderr", file=sys.stderr)
        os.system("echo from a child")
        raise ValueError("nothing is there")

    node = run_one(executor, fail).get_node_result(0)

    assert node["status"] == Status.FAILED
    assert "ValueError: nothing is there" in node["error"]
    assert "in fail" in node["error"]
    assert node["stdout"] == "to stdout\nfrom a child\n"
    assert node["stderr"] == "to stderr\n"


def test_large_values_travel_both_ways(far, executor) -> None:
    content = os.urandom(12 * 2**20)
    result = run_one(executor, lambda content: content[::-1], content)

    assert result.result == content[::-1]
    assert far.files() == []


def test_a_lambda_a_coroutine_and_a_spawned_process_run(executor) -> None:
    async def wait():
        import asyncio
        import multiprocessing

        await asyncio.sleep(0)

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.map(abs, [-1, -2])

    assert run_one(executor, wait).result == [1, 2]


def test_tasks_that_run_in_parallel_have_environments_of_their_own(executor) -> None:
    @ct.electron(executor=executor)
    def set_and_get(value):
        seen = os.environ.get("ONLY_MINE")
        os.environ["ONLY_MINE"] = value
        time.sleep(0.05)
        return seen, os.environ["ONLY_MINE"], os.getpid()

    @ct.lattice
    def workflow():
        return [set_and_get(str(place)) for place in range(6)]

    result = ct.dispatch_sync(workflow)().result

    assert [(seen, own) for seen, own, _ in result] == [(None, str(place)) for place in range(6)]
    assert len({pid for *_, pid in result}) == 6


def test_a_folder_for_each_task_stays_if_there_is_something_in_it(far, options) -> None:
    executor = SSHExecutor(**options, create_unique_workdir=True, remote_workdir="~/covalent-workdir/$SHLVL")

    def write(name):
        if name:
            Path(name).write_text("kept")

        return os.getcwd()

    kept, empty = run_one(executor, write, "file"), run_one(executor, write, "")

    assert kept.result == str(far.home / "covalent-workdir" / "2" / kept.dispatch_id / "node_0")
    assert empty.result == str(far.home / "covalent-workdir" / "2" / empty.dispatch_id / "node_0")
    assert far.files() == [f"covalent-workdir/2{rest}" for rest in ("", *below(kept.dispatch_id, "node_0", "file"))]
    shutil.rmtree(far.home / "covalent-workdir" / "2")


def below(*names: str) -> list[str]:
    return ["/" + "/".join(names[: place + 1]) for place in range(len(names))]


def test_files_are_kept_if_that_is_asked_for(far, options) -> None:
    result = run_one(SSHExecutor(**options, do_cleanup=False), abs, -1)
    folder = far.home / "covalent-workdir" / f"ct-{result.dispatch_id.replace('-', '')}-0-0"

    assert result.result == 1
    assert (folder / "bundle.pyz").exists()
    shutil.rmtree(folder)


def test_commands_come_before_the_interpreter_and_a_conda_environment_is_activated(far, options) -> None:
    (far.home / ".bash_profile").write_text(
        "echo welcome\nconda() { [ $1 = shell.bash ] && echo true || export ACTIVE=$3$2; }\n"
    )
    executor = SSHExecutor(**options, prerun_commands=["export GREETING=hello", "echo loaded"], conda_env="chem")

    try:
        result = run_one(executor, lambda: (os.environ["GREETING"], os.environ["ACTIVE"]))
    finally:
        (far.home / ".bash_profile").unlink()

    assert result.result == ("hello", "chem"), result.error


def test_an_interpreter_of_a_virtual_environment_is_used(far, options) -> None:
    folder = far.home / "with space"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    result = run_one(SSHExecutor(**options, python_path="~/with space/bin/python"), lambda: sys.prefix)
    shutil.rmtree(folder)

    assert result.result == str(folder), result.error


def test_python_3_8_is_enough(options) -> None:
    result = run_one(SSHExecutor(**options, python_path=python_or_skip("python3.8")), pow, 2, 10)

    assert result.result == 1024, result.error


def test_progress_of_an_upload_is_shown_and_a_cancel_interrupts_it(far, line, executor) -> None:
    line.freeze_after(4 * 2**20)
    dispatch_id = dispatch_one(executor, len, os.urandom(16 * 2**20))
    node = wait_for_progress(dispatch_id)
    ct.cancel(dispatch_id)
    line.mend()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert node["progress"].endswith(" bytes")
    assert result.status == Status.CANCELLED
    assert far.files() == []


def wait_for_progress(dispatch_id):
    deadline = time.monotonic() + 20

    while not (node := ct.get_result(dispatch_id).get_node_result(0))["progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    return node


@pytest.mark.long("runs hundreds of tasks")
def test_500_tasks_need_two_connections_at_most(far, line, options) -> None:
    before = far.logins()

    @ct.electron(executor=SSHExecutor(**options))
    def double(x):
        return 2 * x

    @ct.lattice
    def workflow(count):
        return [double(place) for place in range(count)]

    result = ct.dispatch_sync(workflow)(500)

    assert result.result == [2 * place for place in range(500)]
    assert far.logins() - before <= 2
    assert line.connections <= 2
    assert far.files() == []
