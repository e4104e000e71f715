"""Many client processes on one store: ``python clients.py FOLDER --clients 32 --seconds 60 --seed 1``.

Each client dispatches, reads, lists and cancels, its own dispatches and those of others, and writes every call with its
answer to a file of its own in FOLDER. Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import covalent_core as ct

# Imported before the clients are forked, or each would take its time for it.
import covalent_core._client.result
import covalent_core._store.store

#: How many of its dispatches a client lets wait: more would only be waited for at the end.
OPEN = 3


@ct.electron
def add(x, y, seconds):
    import time

    time.sleep(seconds)
    return x + y


@ct.lattice
def workflow(x, seconds):
    left, right = add(x, 1, seconds), add(x, 2, 0)
    return add(left, right, 0)


class Client:
    """One client and the history that it writes."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self._number = number
        self._chance = random.Random(f"{seed} {number}")
        self._history = open(folder / f"{number}.jsonl", "w")
        self._open: list[str] = []
        self._others: list[str] = []
        self._orders = 0

    def live(self, until: float) -> None:
        """Call what comes to mind."""
        while time.monotonic() < until:
            call = self._chance.choice([self.dispatch, self.read, self.read, self.read, self.list, self.cancel])
            self._record(call)

        self._history.close()

    def _record(self, call: Callable[[], dict[str, Any]]) -> None:
        entry: dict[str, Any] = {"client": self._number, "call": call.__name__, "start": time.monotonic()}

        try:
            entry |= call()
        except Exception:
            entry["error"] = traceback.format_exc()

        entry.setdefault("end", time.monotonic())
        print(json.dumps(entry), file=self._history, flush=True)

    def dispatch(self) -> dict[str, Any]:
        if len(self._open) >= OPEN:
            return self.wait()

        x = self._chance.randrange(1000)
        dispatch_id = ct.dispatch(workflow)(x, self._chance.choice([0, 0, 0.05, 0.5]))
        self._open.append(dispatch_id)
        return {"call": "dispatch", "dispatch_id": dispatch_id, "expected": 2 * x + 3}

    def wait(self) -> dict[str, Any]:
        return self._seen("wait", ct.get_result(self._open.pop(0), wait=True, timeout=120))

    def read(self) -> dict[str, Any]:
        known = self._open + self._others
        return self._seen("read", ct.get_result(self._chance.choice(known))) if known else self.list()

    def list(self) -> dict[str, Any]:
        found = ct.list_dispatches(limit=20)
        end = time.monotonic()
        self._others = [result.dispatch_id for result in found]
        return {"call": "list", "end": end, "statuses": {result.dispatch_id: result.status for result in found}}

    def cancel(self) -> dict[str, Any]:
        known = self._open + self._others

        if not known:
            return self.list()

        dispatch_id = self._chance.choice(known)
        task_ids = self._chance.choice([None, None, [0], [3], [0, 3], [6]])
        self._orders += 1
        reason = f"order {self._number}.{self._orders}"
        outcome = ct.cancel(dispatch_id, task_ids, reason=reason)
        targets = {target.node_id: target.outcome for target in outcome.targets}
        answer = {
            "truthy": bool(outcome),
            "targets": targets,
            "stopped": [t.node_id for t in outcome.targets if t.stopped],
        }
        return {"call": "cancel", "dispatch_id": dispatch_id, "task_ids": task_ids, "reason": reason, **answer}

    def _seen(self, call: str, result: Any) -> dict[str, Any]:
        end = time.monotonic()
        nodes = {node_id: result.get_node_result(node_id)["status"] for _, node_id in result.nodes()}
        found = {"dispatch_id": result.dispatch_id, "status": result.status, "nodes": nodes, "result": result.result}
        return {"call": call, "end": end, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    children = []

    for number in range(options.clients):
        child = os.fork()

        if child == 0:
            Client(options.folder, number, options.seed).live(time.monotonic() + options.seconds)
            os._exit(0)

        children.append(child)

    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))


if __name__ == "__main__":
    main()
