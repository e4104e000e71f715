"""What a task needs before it runs: in its own environment, cancelled with it, with its output kept."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from pathlib import Path

import pytest
from probes import alive, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import DependencyError, GraphError

OPTIONS = "executor, retries, retry_delay, timeout, grace, deps_pip, deps_bash, call_before, call_after"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package that no index has and that is not installed."""
    file = tmp_path / "ct_tiny_dependency-1.0-py3-none-any.whl"
    name = "ct_tiny_dependency-1.0.dist-info"

    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ct_tiny_dependency.py", "VALUE = 42\n")
        archive.writestr(f"{name}/METADATA", "Metadata-Version: 2.1\nName: ct-tiny-dependency\nVersion: 1.0\n")
        archive.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}/RECORD", "")

    return file


def test_packages_are_there_for_their_task_and_for_no_other(home: Path, wheel: Path) -> None:
    @ct.electron(deps_pip=ct.DepsPip([str(wheel)], ["--no-index"]))
    def with_it():
        import ct_tiny_dependency

        return ct_tiny_dependency.VALUE, os.getpid(), os.path.dirname(ct_tiny_dependency.__file__)

    @ct.electron
    def without():
        try:
            import ct_tiny_dependency
        except ImportError:
            return os.getpid()

        return ct_tiny_dependency.__file__

    @ct.lattice(executor=ct.executor.LocalExecutor(max_workers=1))
    def workflow():
        first, second, third = without(), with_it(), without()
        ct.wait(second, first)
        ct.wait(third, second)
        return [first, second, third]

    result = ct.dispatch_sync(workflow)()
    assert result.status == Status.COMPLETED, result.error
    first, (value, second, folder), third = result.result
    assert value == 42
    assert len({first, second, third}) == 3
    assert not Path(folder).exists()
    assert "Successfully installed ct-tiny-dependency-1.0" in result.get_node_result(1)["stdout"]


def test_the_order_and_the_output_of_all_that_goes_with_a_task(home: Path) -> None:
    def before(text):
        print("before", text)
        return 5

    @ct.electron(
        deps_bash=["echo first", "echo second >&2"],
        call_before=ct.DepsCall(before, ["it"], retval_keyword="number"),
        call_after=[lambda: print("after")],
    )
    def task(number):
        print("task", number)
        return number

    @ct.lattice
    def workflow():
        return task()

    result = ct.dispatch_sync(workflow)()
    assert result.result == 5, result.error
    assert result.get_node_result(0)["stdout"] == "first\nbefore it\ntask 5\nafter\n"
    assert result.get_node_result(0)["stderr"] == "second\n"


def test_the_first_that_fails_fails_the_task(home: Path, tmp_path: Path) -> None:
    @ct.electron(deps_bash=["echo said >&2; exit 3", f"touch {tmp_path}/next"])
    def task():
        Path(tmp_path, "ran").touch()

    @ct.lattice
    def workflow():
        return task()

    node = ct.dispatch_sync(workflow)().get_node_result(0)
    assert node["status"] == Status.FAILED
    assert isinstance(node["exception"].__cause__, DependencyError)
    assert str(node["exception"].__cause__) == (
        "deps_bash: 'echo said >&2; exit 3' ended with exit code 3; what it said is in stdout and stderr"
    )
    assert node["stderr"] == "said\n"
    assert not list(tmp_path.glob("next")) + list(tmp_path.glob("ran"))


@pytest.mark.parametrize("where", ["bash", "before", "after"])
def test_a_cancel_ends_what_goes_with_a_task(home: Path, tmp_path: Path, where: str) -> None:
    note = tmp_path / "pid"

    def hang():
        note.write_text(str(os.getpid()))
        time.sleep(600)

    options = {
        "bash": {"deps_bash": f"echo $$ > {note}.part; mv {note}.part {note}; sleep 600 & wait"},
        "before": {"call_before": hang},
        "after": {"call_after": hang},
    }

    @ct.electron(**options[where])
    def task():
        return 1

    @ct.lattice
    def workflow():
        return task()

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: note.exists() and note.read_text().strip())
    pid = int(note.read_text())
    assert alive(pid)
    assert ct.cancel(dispatch_id)
    assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.CANCELLED
    assert not alive(pid)


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_the_packages_of_a_task_that_is_ended_are_removed(
    home: Path, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    @ct.electron(deps_pip=ct.DepsPip([str(wheel)], ["--no-index"]))
    def task():
        import ct_tiny_dependency

        (tmp_path / "where").write_text(f"{ct_tiny_dependency.__file__}\n{os.getpid()}\n")
        time.sleep(600)

    dispatch_id = ct.dispatch(ct.lattice(task))()
    wait_until(lambda: (tmp_path / "where").exists() and (tmp_path / "where").read_text().count("\n") == 2)
    file, pid = (tmp_path / "where").read_text().split()
    assert Path(file).parent.parent == temporary

    if end == "cancel":
        ct.cancel(dispatch_id)
    else:
        os.kill(int(pid), signal.SIGKILL)

    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    assert result.status == (Status.CANCELLED if end == "cancel" else Status.FAILED)
    assert list(temporary.glob("deps-pip*")) == []


def test_bad_input_is_refused_where_it_is_written() -> None:
    for options, message in [
        ({"deps_pip": 3}, "deps_pip is 3, expected a text or a list of texts"),
        ({"deps_bash": [1]}, "deps_bash is [1], expected a text or a list of texts"),
        ({"call_before": "f"}, "call_before is 'f', expected a function, a DepsCall or a list of them"),
        ({"retries": -1}, "electron f: retries is -1, expected a whole number, 0 or more"),
        ({"timeout": 0}, "electron f: timeout is 0, expected a number of seconds above 0"),
        (
            {"retry": 1},
            f"electron f has no option 'retry'; options: {OPTIONS}",
        ),
    ]:
        with pytest.raises(GraphError) as caught:

            @ct.electron(**options)
            def f():
                pass

        assert str(caught.value) == message
