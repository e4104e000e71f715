"""Circuits on the simulators of this machine: no account, no line, and a process that can be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from electrons import electrons
from probes import alive, wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core_braket import BraketExecutor

E = electrons()


@pytest.fixture
def local(tmp_path: Path, home: Path) -> dict[str, Any]:
    return {"workdir": str(tmp_path / "work"), "shots": 50, "grace": 0.5}


def dispatch(executor: Any, function: Any, *arguments: Any) -> str:
    @ct.lattice(executor=executor)
    def workflow(*arguments: Any) -> Any:
        return ct.electron(function)(*arguments)

    return ct.dispatch(workflow)(*arguments)


def test_a_pair_is_what_it_is(local, tmp_path) -> None:
    @ct.lattice(executor=BraketExecutor(**local))
    def workflow() -> Any:
        pair = ct.electron(E.bell)()
        return ct.electron(E.counts, executor="local")(pair)

    result = ct.dispatch_sync(workflow)()

    assert set(result.result) == {"00", "11"}, result.error
    assert sum(result.result.values()) == 50
    assert result.get_node_result(0)["stdout"] == "a pair\n"
    assert list((tmp_path / "work").iterdir()) == []


def test_several_in_one_pack(local) -> None:
    """A list has a list of results; a program in text, and the short name of a simulator, are as good."""

    @ct.lattice(executor=BraketExecutor(device="local:braket_sv", pack=3, **local))
    def workflow() -> Any:
        return ct.electron(E.flips)(3), ct.electron(E.openqasm)(), ct.electron(E.program_set)()

    result = ct.dispatch_sync(workflow)()
    flips, text, program_set = result.result

    assert [dict(one.measurement_counts) for one in flips] == [{"0": 50}, {"1": 50}, {"0": 50}]
    assert set(text.measurement_counts) == {"00", "11"}
    assert len(program_set.entries) == 2
    handles = {node["job_handle"] for node in map(result.get_node_result, range(3))}
    assert len(handles - {None}) == 1


def test_a_cancel_ends_the_process_and_all_that_it_has_started(local, tmp_path) -> None:
    dispatch_id = dispatch(BraketExecutor(**local), E.wait, str(tmp_path))
    wait_until((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(map(alive, pids))
    ct.cancel(dispatch_id)

    assert ct.get_result(dispatch_id, wait=True).status == Status.CANCELLED
    assert not any(map(alive, pids))
    wait_until(lambda: list((tmp_path / "work").iterdir()) == [])


def test_a_function_that_returns_something_else_says_so(local) -> None:
    result = ct.get_result(dispatch(BraketExecutor(**local), E.number), wait=True)

    assert result.status == Status.FAILED
    assert "the electron has returned a int, expected a Circuit" in result.get_node_result(0)["error"]


def test_a_function_that_fails_says_why(local) -> None:
    result = ct.get_result(dispatch(BraketExecutor(**local), E.fail), wait=True)

    assert "seven by nothing" in result.get_node_result(0)["error"]
    assert isinstance(result.get_node_result(0)["exception"].__cause__, ZeroDivisionError)


def test_a_simulator_that_is_not_installed_is_named(local) -> None:
    executor = BraketExecutor(device="local:braket/none_such", **local)
    result = ct.get_result(dispatch(executor, E.bell), wait=True)

    assert "none_such" in result.get_node_result(0)["error"]
