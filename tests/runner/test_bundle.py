"""A bundle runs with nothing but a Python interpreter: what plugins send to the far side."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from probes import alive, wait_until
from pythons import PYTHONS, python_or_skip

from covalent_core._compose.pickling import dumps
from covalent_core._executors.bundle import BEGINNING, TOO_OLD, pack, runner_file
from covalent_core._home import Home
from covalent_core._model.job import Job, TaskCall


def job_of(function: Any, *args: Any) -> Job:
    call = TaskCall(3, "function", cloudpickle.dumps(function), pickle.dumps((args, {})))
    return Job("a-dispatch", "ct-ticket-3-0", 0, (call,))


def start(job: Job, folder: Path, python: str = sys.executable) -> subprocess.Popen[bytes]:
    (folder / "bundle.pyz").write_bytes(pack(job))
    # -I and an empty environment: nothing is found but what the bundle brings.
    return subprocess.Popen([python, "-I", "-S", "bundle.pyz"], cwd=folder, env={"PATH": os.environ["PATH"]})


def outcome_in(folder: Path) -> tuple[dict[str, Any], bytes]:
    header, _, content = (folder / "results" / "ct-ticket-3-0.3.outcome").read_bytes().partition(b"\n")
    return json.loads(header), content


@pytest.mark.parametrize("name", PYTHONS)
def test_a_bundle_needs_only_an_interpreter(tmp_path: Path, name: str) -> None:
    python = python_or_skip(name)
    assert start(job_of(divmod, 17, 5), tmp_path, python).wait(20) == 0
    header, content = outcome_in(tmp_path)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == (3, 2)
    assert (tmp_path / "results" / "ct-ticket-3-0.ended").is_symlink()


def test_the_runner_of_a_home_is_compiled_for_this_interpreter_alone(home: Path) -> None:
    home.mkdir()
    runner = runner_file(Home(home))
    script = "import sys; sys.path.insert(0, sys.argv[1]); import covalent_runner.supervisor as s; print(s.__file__)"
    loaded = [sys.executable, "-I", "-S", "-c", script, str(runner)]

    assert subprocess.check_output(loaded, text=True).strip() == f"{runner}/covalent_runner/supervisor.pyc"

    runner.write_bytes(recompiled(runner, b"of another interpreter"))
    assert subprocess.check_output(loaded, text=True).strip() == f"{runner}/covalent_runner/supervisor.py"


def recompiled(runner: Path, magic: bytes) -> bytes:
    """Return a runner whose compiled modules begin with another magic number."""
    buffer = io.BytesIO()

    with zipfile.ZipFile(runner) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, magic[:4] + content[4:] if name.endswith(".pyc") else content)

    return buffer.getvalue()


@pytest.mark.parametrize("name", [f"python3.{minor}" for minor in range(8, 15) if minor != sys.version_info[1]])
def test_another_python_version_is_named_in_the_error(tmp_path: Path, name: str) -> None:
    python = python_or_skip(name)

    def fail():
        raise ValueError("no")

    start(job_of(fail), tmp_path, python).wait(20)
    header, _ = outcome_in(tmp_path)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"

    assert header["status"] == "FAILED"
    assert f"the function was pickled by Python {here} and this is Python {name[6:]}" in header["error"]


def test_another_version_is_said_first_where_a_function_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covalent_core._model.job.PYTHON", "3.99")
    unreadable = replace(job_of(len), tasks=(TaskCall(3, "function", b"no pickle", b""),))
    start(unreadable, tmp_path).wait(20)
    header, _ = outcome_in(tmp_path)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    note = f"the function was pickled by Python 3.99 and this is Python {here}"

    assert header["error"].startswith(f"{note}, which could not open it:\n_pickle.UnpicklingError")


def test_a_bundle_brings_the_cloudpickle_that_it_was_pickled_with(tmp_path: Path) -> None:
    def pickle_here():
        import cloudpickle

        # What it returns is pickled with it as well.
        return cloudpickle.__version__, lambda: cloudpickle.__file__

    other = tmp_path / "installed" / "cloudpickle"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('the one that is installed here')")
    (tmp_path / "bundle.pyz").write_bytes(pack(job_of(pickle_here)))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(other.parent)}
    assert subprocess.run([sys.executable, "bundle.pyz"], cwd=tmp_path, env=environment).returncode == 0
    header, content = outcome_in(tmp_path)
    assert header["status"] == "COMPLETED", header["error"]
    version, _ = pickle.loads(content)

    assert version == cloudpickle.__version__


def test_what_a_newer_cloudpickle_has_pickled_says_so_first(tmp_path: Path) -> None:
    newer = b"ccloudpickle.cloudpickle\nof_a_newer_one\n."
    start(replace(job_of(len), tasks=(TaskCall(3, "function", newer, b""),)), tmp_path).wait(20)
    header, _ = outcome_in(tmp_path)
    note = f"the function was pickled by a newer cloudpickle than {cloudpickle.__version__}, which the dispatcher has"

    assert header["error"].startswith(note)
    assert "of_a_newer_one" in header["error"]


def test_an_error_of_the_function_itself_comes_before_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covalent_core._model.job.PYTHON", "3.99")
    start(job_of(len, 3), tmp_path).wait(20)
    header, _ = outcome_in(tmp_path)

    assert "TypeError" in header["error"].partition("(the function was pickled by Python 3.99")[0]


def test_the_entry_is_in_words_that_old_interpreters_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = ast.parse(BEGINNING, feature_version=(3, 4))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Starred, ast.Nonlocal, ast.Await)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]

    monkeypatch.setattr(sys, "version_info", (3, 6, 8, "final", 0))
    monkeypatch.setattr(sys, "version", "3.6.8 (default, May  1 2019)")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")

    with pytest.raises(SystemExit) as caught:
        exec(compile(BEGINNING, "__main__.py", "exec"), {"__name__": "__main__"})

    assert caught.value.code == TOO_OLD
    assert capsys.readouterr().err == (
        "Covalent Core needs Python 3.8 or newer where tasks run; this is 3.6.8 (/usr/bin/python3)\n"
    )


@pytest.mark.parametrize("name", ["python2.7", "python3.6", "python3.7"])
def test_an_old_interpreter_says_in_one_line_what_is_needed(tmp_path: Path, name: str) -> None:
    python = python_or_skip(name)
    (tmp_path / "bundle.pyz").write_bytes(pack(job_of(divmod, 17, 5)))
    ended = subprocess.run([python, "bundle.pyz"], cwd=tmp_path, capture_output=True, text=True)
    first = "Covalent Core needs Python 3.8 or newer where tasks run; this is "

    assert ended.returncode == TOO_OLD
    assert ended.stderr.startswith(f"{first}{name[6:]}.")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("workdir", ["", ".."])
def test_large_inputs_travel_as_files(tmp_path: Path, workdir: str) -> None:
    file = tmp_path / "input"
    file.write_bytes(pickle.dumps(bytes(20_000_000)))
    stand_in = "the output of node 1"
    call = dumps(((stand_in,), {}), lambda value: 0 if value is stand_in else None)
    job = Job("a-dispatch", "ct-ticket-3-0", 0, (TaskCall(3, "len", cloudpickle.dumps(len), call, (), [1], {1: file}),))
    job.workdir = workdir
    assert isinstance(pack(job), memoryview)
    assert start(job, tmp_path).wait(20) == 0
    header, content = outcome_in(tmp_path)
    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == 20_000_000


def test_the_tasks_of_a_pack_run_in_one_directory(tmp_path: Path) -> None:
    where, no_arguments = cloudpickle.dumps(os.getcwd), pickle.dumps(((), {}))
    calls = tuple(TaskCall(node_id, "getcwd", where, no_arguments) for node_id in (3, 4, 5))
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert start(Job("a-dispatch", "ct-ticket-3-0", 0, calls, workdir=".."), folder).wait(20) == 0
    files = [folder / "results" / f"ct-ticket-3-0.{node_id}.outcome" for node_id in (3, 4, 5)]
    places = [pickle.loads(file.read_bytes().partition(b"\n")[2]) for file in files]

    assert places == [str(tmp_path / "a")] * 3


def test_a_task_on_the_far_side_can_ask_about_itself(tmp_path: Path) -> None:
    def ask():
        import covalent_core as ct

        ct.checkpoint()
        task = ct.current_task()

        try:
            ct.dispatch  # noqa: B018
        except ImportError as error:
            return task.dispatch_id, task.node_id, task.cancel_requested, str(error)

    start(job_of(ask), tmp_path).wait(20)
    header, content = outcome_in(tmp_path)
    assert header["status"] == "COMPLETED", header["error"]
    *task, error = pickle.loads(content)
    assert task == ["a-dispatch", 3, False]
    assert "covalent_core.dispatch is not available here" in error
    assert "install covalent-core there to use more" in error


def test_whatever_starts_in_a_task_can_see_that_it_is_part_of_one(tmp_path: Path) -> None:
    def look() -> str:
        import os
        import subprocess

        command = ["sh", "-c", "echo $COVALENT_CORE_SUPERVISOR"]
        return os.environ["COVALENT_CORE_SUPERVISOR"] + " " + subprocess.check_output(command, text=True).strip()

    start(job_of(look), tmp_path).wait(20)
    header, content = outcome_in(tmp_path)

    assert header["status"] == "COMPLETED", header["error"]
    assert pickle.loads(content) == "ct-ticket-3-0 ct-ticket-3-0"


def test_sigterm_ends_the_whole_tree_and_says_so(tmp_path: Path) -> None:
    def spawn(folder):
        import subprocess
        import time

        child = subprocess.Popen(["setsid", "sleep", "60"])
        with open(folder + "/pid", "w") as file:
            file.write(str(child.pid))
        print("spawned")
        time.sleep(60)

    runner = start(job_of(spawn, str(tmp_path)), tmp_path)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: (tmp_path / "results" / f"ct-ticket-3-0.{runner.pid}.stdout").stat().st_size)
    start_time = time.monotonic()
    runner.send_signal(signal.SIGTERM)

    assert runner.wait(20) == 0
    assert time.monotonic() - start_time < 2
    assert not alive(child)
    header, _ = outcome_in(tmp_path)
    assert header["status"] == "TERMINATED"
    assert header["stdout"] == "spawned\n"


def test_a_bundle_started_twice_runs_once(tmp_path: Path) -> None:
    def count(folder):
        import time

        with open(folder + "/count", "a") as file:
            file.write("x")

        while not __import__("os").path.exists(folder + "/go"):
            time.sleep(0.01)

    first = start(job_of(count, str(tmp_path)), tmp_path)
    wait_until((tmp_path / "count").exists)
    second = start(job_of(count, str(tmp_path)), tmp_path)
    assert second.wait(20) == 0
    (tmp_path / "go").touch()
    assert first.wait(20) == 0
    assert (tmp_path / "count").read_text() == "x"
