"""A dispatch taken up again: what completed is not run again, what would come out otherwise is."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from probes import wait_until

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import DispatchError, GraphError

SCRIPT = """
import sys, time
import covalent_core as ct

FACTOR = 2

@ct.electron
def count(folder, name, value):
    \"\"\"Note the call.\"\"\"
    with open(f"{folder}/{name}", "a") as file:
        file.write("x")
    return value * FACTOR

@ct.electron
def slow(folder, name, value):
    open(f"{folder}/{name}.begun", "w").close()
    time.sleep(600)

@ct.lattice
def wide(folder, width):
    first = [count(folder, f"a{n}", n) for n in range(width)]
    held = slow(folder, "held", first[0])
    return [held, *(count(folder, f"b{n}", value) for n, value in enumerate(first))]

print(ct.dispatch(wide)(sys.argv[1], int(sys.argv[2])))
"""


@ct.electron
def note(folder, name, value):
    with open(Path(folder, name), "a") as file:
        file.write("x")

    return value


@ct.electron
def add(folder, x, y):
    with open(Path(folder, "add"), "a") as file:
        file.write("x")

    return x + y


@ct.lattice
def sums(folder, x, y):
    return [add(folder, note(folder, "x", x), 1), add(folder, note(folder, "y", y), 1)]


@ct.lattice
def inner(folder, x):
    return note(folder, "inner", x) + 1


@ct.lattice
def outer(folder, x):
    return [inner(folder, x), note(folder, "outer", x)]


def calls(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("width", [5, 500])
def test_a_cancelled_dispatch_is_taken_up_where_it_stopped(home: Path, notes: Path, width: int) -> None:
    command = [sys.executable, "-c", SCRIPT, str(notes), str(width)]
    dispatch_id = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    wait_until(lambda: (notes / "held.begun").exists() and (notes / f"a{width // 2}").exists())
    ct.cancel(dispatch_id)
    cancelled = ct.get_result(dispatch_id, wait=True, timeout=60)
    before = calls(notes)
    new_id = ct.redispatch(dispatch_id, replace_electrons={"slow": lambda folder, name, value: -1})()
    result = ct.get_result(new_id, wait=True, timeout=60)
    after = calls(notes)
    counted = [(name, node_id) for name, node_id in cancelled.nodes() if name.startswith("count(")]
    # In the order in which the lattice calls them.
    names = [f"{kind}{n}" for kind in "ab" for n in range(width)]

    assert cancelled.status == Status.CANCELLED
    assert result.result == [-1, *(4 * n for n in range(width))]
    assert {name: after[name] - before.get(name, 0) for name in names} == {
        name: int(cancelled.get_node_result(node_id)["status"] != Status.COMPLETED)
        for name, (_, node_id) in zip(names, counted, strict=True)
    }


def test_new_arguments_run_what_they_reach(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(sums)(str(notes), 1, 2).dispatch_id
    result = ct.get_result(ct.redispatch(dispatch_id)(str(notes), 1, 5), wait=True, timeout=60)

    assert result.result == [2, 6]
    assert calls(notes) == {"x": 1, "y": 2, "add": 3}
    assert result.inputs["args"][1:] == ["1", "5"]


def test_a_replaced_electron_runs_with_all_that_needs_it(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(sums)(str(notes), 1, 2).dispatch_id
    new_id = ct.redispatch(dispatch_id, replace_electrons={"add": lambda folder, x, y: x * 100})()
    result = ct.get_result(new_id, wait=True, timeout=60)

    assert result.result == [100, 200]
    assert calls(notes) == {"x": 1, "y": 1, "add": 2}


def test_an_electron_is_replaced_in_a_sublattice_too(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(outer)(str(notes), 1).dispatch_id
    result = ct.get_result(ct.redispatch(dispatch_id)(), wait=True, timeout=60)
    assert result.result == [2, 1]
    assert calls(notes) == {"inner": 1, "outer": 1}

    new_id = ct.redispatch(dispatch_id, replace_electrons={"note": lambda folder, name, x: 10})()
    assert ct.get_result(new_id, wait=True, timeout=60).result == [11, 10]


def test_nothing_is_reused_where_that_is_not_wanted(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(sums)(str(notes), 1, 2).dispatch_id
    new_id = ct.redispatch(dispatch_id, reuse_previous_results=False)()

    assert ct.get_result(new_id, wait=True, timeout=60).result == [2, 3]
    assert calls(notes) == {"x": 2, "y": 2, "add": 4}


def test_large_outputs_are_shared_and_survive(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(sums)(str(notes), bytes(200_000), b"").dispatch_id

    with pytest.raises(GraphError, match="cannot be called like this"):
        ct.redispatch(dispatch_id)(1, 2, 3, 4)

    result = ct.get_result(ct.redispatch(dispatch_id)(), wait=True, timeout=60)
    assert result.get_node_result(0)["output"] == bytes(200_000)
    assert calls(notes) == {"x": 1, "y": 1, "add": 4}


def test_bad_input_is_refused_and_nothing_is_dispatched(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(outer)(str(notes), 1).dispatch_id
    child = ct.get_result(dispatch_id).get_node_result(0)["sublattice_result"].dispatch_id
    flat = ct.dispatch_sync(sums)(str(notes), 1, 2).dispatch_id

    with pytest.raises(DispatchError) as caught:
        ct.redispatch(child)
    assert str(caught.value) == (
        f"dispatch {child!r} is the sublattice at node 0 of dispatch {dispatch_id!r} and cannot be dispatched by "
        f"itself; redispatch {dispatch_id!r}"
    )

    with pytest.raises(GraphError) as caught:
        ct.redispatch(flat, replace_electrons={"nobody": len})()
    assert str(caught.value) == "lattice 'sums' has no electron 'nobody' to replace; it has: add, note"

    with pytest.raises(GraphError) as caught:
        ct.redispatch(flat, replace_electrons={"add": 3})
    assert str(caught.value) == "replace_electrons['add'] is 3, expected an electron or a function"
    assert len(ct.list_dispatches()) == 3


def test_what_did_not_complete_is_not_reused(home: Path, notes: Path) -> None:
    @ct.electron
    def fails_once(folder):
        first = not Path(folder, "tried").exists()
        Path(folder, "tried").touch()

        if first:
            raise ValueError("not yet")

        return time.time()

    @ct.lattice
    def workflow(folder):
        return [note(folder, "n", 1), fails_once(folder)]

    failed = ct.dispatch_sync(workflow)(str(notes))
    result = ct.get_result(ct.redispatch(failed.dispatch_id)(), wait=True, timeout=60)

    assert failed.status == Status.FAILED
    assert result.status == Status.COMPLETED
    assert calls(notes)["n"] == 1


def test_a_repair_is_kept(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(outer)(str(notes), 1).dispatch_id
    repaired = ct.redispatch(dispatch_id, replace_electrons={"note": lambda folder, name, x: 10})()
    again = ct.redispatch(repaired, reuse_previous_results=False)()

    assert ct.get_result(again, wait=True, timeout=60).result == [11, 10]


def test_an_edited_lattice_takes_the_place_of_the_one_that_was_dispatched(home: Path, notes: Path) -> None:
    dispatch_id = ct.dispatch_sync(sums)(str(notes), 1, 2).dispatch_id

    @ct.lattice
    def edited(folder, x, y):
        return [add(folder, note(folder, "x", x), 1), note(folder, "y", y)]

    result = ct.get_result(ct.redispatch(dispatch_id, lattice=edited)(), wait=True, timeout=60)
    assert (result.name, result.result) == ("edited", [2, 2])
    assert calls(notes) == {"x": 1, "y": 1, "add": 2}

    with pytest.raises(GraphError, match=r"not lattice 'edited'; to dispatch an edited lattice, write lattice=edited"):
        ct.redispatch(dispatch_id, edited)

    with pytest.raises(GraphError, match=r"lattice is <function .*>, expected a lattice"):
        ct.redispatch(dispatch_id, lattice=edited.function)

    with pytest.raises(GraphError, match=r"replace_electrons takes electrons by their names, not \[3\]"):
        ct.redispatch(dispatch_id, [3])


def test_what_is_reused_says_so_and_keeps_what_is_known_of_it(home: Path, notes: Path) -> None:
    @ct.electron
    def say(x):
        print("said once")
        return x

    first = ct.dispatch_sync(ct.lattice(lambda x: say(x)))(1)
    second = ct.get_result(ct.redispatch(first.dispatch_id)(), wait=True, timeout=60)
    third = ct.get_result(ct.redispatch(second.dispatch_id)(), wait=True, timeout=60)
    before = first.get_node_result(0)
    assert before["reused_from"] is None

    for result in (second, third):
        node = result.get_node_result(0)
        assert node["reused_from"] == first.dispatch_id
        assert [node[name] for name in ("stdout", "start_time", "end_time")] == [
            before[name] for name in ("stdout", "start_time", "end_time")
        ]
        assert f"say(0): 1 [reused from {first.dispatch_id}]" in str(result)


EDITED = """
import sys
import covalent_core as ct

{comment}
@ct.electron
def note(folder, value):
    {comment}
    with open(folder + "/notes", "a") as file:
        file.write("x")

    return value + {added}

@ct.lattice
def workflow(folder):
    return note(folder, 1)

if len(sys.argv) > 2:
    print(ct.get_result(ct.redispatch(sys.argv[2], lattice=workflow)(), wait=True).result)
else:
    print(ct.dispatch_sync(workflow)(sys.argv[1]).dispatch_id)
"""


@pytest.mark.parametrize(
    ("comment", "added", "result", "times"), [("# one more line", 1, 2, 1), ("", 2, 3, 2)], ids=["comment", "code"]
)
def test_a_comment_makes_no_other_function(
    home: Path, notes: Path, tmp_path: Path, comment: str, added: int, result: int, times: int
) -> None:
    def run(*arguments: str, **parts: object) -> str:
        (tmp_path / "script.py").write_text(EDITED.format(**parts))
        command = [sys.executable, str(tmp_path / "script.py"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    dispatch_id = run(str(notes), comment="", added=1)

    assert run(str(notes), dispatch_id, comment=comment, added=added) == str(result)
    assert calls(notes) == {"notes": times}
