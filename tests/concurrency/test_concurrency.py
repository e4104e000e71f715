"""32 clients dispatch, read and cancel on one store at once, and everything they are told is true.

``COVALENT_CORE_TEST_SECONDS`` says for how long, ``COVALENT_CORE_TEST_SEED`` what they do.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from concurrency.histories import problems

import covalent_core as ct
from covalent_core._client.spawn import ensure_dispatcher
from covalent_core._home import find_home
from covalent_core._store.journal import Journal
from covalent_core._store.store import Store

SECONDS = float(os.environ.get("COVALENT_CORE_TEST_SECONDS", "5"))
SEED = int(os.environ.get("COVALENT_CORE_TEST_SEED", random.SystemRandom().randrange(2**32)))
CLIENTS = 32

Call = dict[str, Any]


def read_histories(folder: Path) -> list[Call]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def read_store() -> dict[str, Any]:
    """Return what is in the store when everything in it has ended."""
    journal = Journal(Store(find_home()))
    final = {}

    for listed in ct.list_dispatches(limit=1_000_000):
        result = ct.get_result(listed.dispatch_id, wait=True, timeout=120)
        nodes = {node_id: result.get_node_result(node_id)["status"] for _, node_id in result.nodes()}
        orders = [{"reason": order["reason"], "targets": order["targets"]} for order in result.get_cancellations()]
        edges = journal.load(listed.dispatch_id).edges
        final[listed.dispatch_id] = {"status": result.status, "nodes": nodes, "orders": orders, "edges": edges}

    # As the histories are: keys of JSON are strings.
    return dict(json.loads(json.dumps(final)))


@pytest.mark.long("lets 32 clients do what they like for five seconds")
def test_what_32_clients_of_one_store_are_told_is_true(home: Path, tmp_path: Path) -> None:
    print(f"COVALENT_CORE_TEST_SEED={SEED}")
    folder = tmp_path / "histories"
    folder.mkdir()
    # One dispatcher is there from the start: when each client of an empty home starts one, little else is tested.
    ensure_dispatcher(find_home())
    command = [sys.executable, str(Path(__file__).with_name("clients.py")), str(folder)]
    options = ["--clients", str(CLIENTS), "--seconds", str(SECONDS), "--seed", str(SEED)]
    subprocess.run([*command, *options], check=True, timeout=SECONDS + 180)
    history, final = read_histories(folder), read_store()
    counts = Counter(call["call"] for call in history)
    ends = Counter(state["status"] for state in final.values())
    print(dict(counts), dict(ends))

    assert list(problems(history, final)) == []
    assert len({call["client"] for call in history}) == CLIENTS
    assert min(counts[call] for call in ("dispatch", "read", "list", "cancel")) > 0
    assert min(ends["COMPLETED"], ends["CANCELLED"]) > 0
    assert {call["truthy"] for call in history if call["call"] == "cancel"} == {True, False}
    assert len(final) == counts["dispatch"]
    log = (home / "dispatcher.log").read_text()
    assert "locked" not in log
    assert "Traceback" not in log


# --- the checker itself ------------------------------------------------------------------------------------------

EDGES = [[1, 0], [0, 2]]
STATE = {"edges": EDGES, "nodes": {"0": "CANCELLED", "1": "COMPLETED", "2": "CANCELLED"}, "status": "CANCELLED"}
FINAL: dict[str, Any] = {
    "a": {**STATE, "orders": [{"reason": "r1", "targets": {"0": "stopping"}}]},
    "b": {**STATE, "nodes": dict.fromkeys("012", "COMPLETED"), "status": "COMPLETED", "orders": []},
}


def call(name: str, start: float, dispatch_id: str, **answer: Any) -> Call:
    return {"client": 0, "call": name, "start": start, "end": start + 1, "dispatch_id": dispatch_id, **answer}


HISTORY = [
    call("dispatch", 0, "a", expected=5),
    call("dispatch", 0, "b", expected=7),
    call("read", 2, "a", status="RUNNING", nodes={"0": "RUNNING", "1": "COMPLETED", "2": "NEW_OBJECT"}, result=None),
    call("cancel", 4, "a", task_ids=[0], reason="r1", truthy=True, targets={"0": "stopping"}, stopped=[0]),
    call("read", 6, "a", status="CANCELLED", nodes=STATE["nodes"], result=None),
    call("wait", 6, "b", status="COMPLETED", nodes=FINAL["b"]["nodes"], result=7),
    {"client": 1, "call": "list", "start": 8, "end": 9, "statuses": {"a": "CANCELLED", "b": "COMPLETED"}},
]


def test_the_checker_agrees_with_a_true_history() -> None:
    assert list(problems(HISTORY, FINAL)) == []


def add_second_stop(history: list[Call], final: dict[str, Any]) -> None:
    history.append({**history[3], "reason": "r2"})
    final["a"]["orders"].append({"reason": "r2", "targets": {"0": "stopping"}})


CORRUPTIONS: dict[str, Callable[[list[Call], dict[str, Any]], object]] = {
    "an exception": lambda history, _: history[2].update(error="OperationalError: database is locked"),
    "a dispatch is lost": lambda _, final: final.pop("b"),
    "a dispatch never ends": lambda _, final: final["b"].update(status="RUNNING"),
    "a wrong result": lambda history, _: history[5].update(result=8),
    "a status goes back": lambda history, _: history[6]["statuses"].update(b="RUNNING"),
    "a terminal status changes": lambda history, _: history[6]["statuses"].update(a="COMPLETED"),
    "the status of a node goes back": lambda history, _: history[4]["nodes"].update({"1": "RUNNING"}),
    "cancelled, and RUNNING afterwards": lambda history, _: history[4]["nodes"].update({"0": "RUNNING"}),
    "an order is not recorded": lambda _, final: final["a"]["orders"].clear(),
    "an order that nobody gave": lambda _, final: final["b"]["orders"].append({"reason": "r2", "targets": {}}),
    "an order with other targets": lambda _, final: final["a"]["orders"][0]["targets"].update({"0": "prevented"}),
    "true, and it stopped nothing": lambda history, _: history[3].update(stopped=[]),
    "false, and it stopped something": lambda history, _: history[3].update(truthy=False),
    "stopped, and COMPLETED": lambda _, final: final["a"]["nodes"].update({"0": "COMPLETED"}),
    "COMPLETED below what was stopped": lambda _, final: final["a"]["nodes"].update({"2": "COMPLETED"}),
    "CANCELLED by nobody": lambda _, final: final["b"]["nodes"].update({"1": "CANCELLED"}),
    "a wrong end of the dispatch": lambda _, final: final["a"].update(status="COMPLETED"),
    "two orders stopped the same node": add_second_stop,
    "waited for, and it had not ended": lambda history, _: history[5].update(status="RUNNING"),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_the_checker_finds(what: str) -> None:
    history, final = copy.deepcopy(HISTORY), copy.deepcopy(FINAL)
    CORRUPTIONS[what](history, final)

    assert list(problems(history, final))
