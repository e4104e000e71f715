"""A pack as a test of the suite has it: three tasks in one job, each of which goes on until it is let go."""

from __future__ import annotations

from typing import Any

import covalent_core as ct
from covalent_core import Result, Status
from covalent_core.testing._bench import Bench

#: The members, in the order in which they run. The second is the one that things happen to.
NAMES = ("first", "second", "third")

#: How many members have been let go when the second is at ...
LET_GO = {"waiting": 0, "running": 1, "over": 2}


def dispatch_pack(bench: Bench, *calls: tuple[Any, ...]) -> str:
    """Dispatch tasks that do not depend on each other as one job; each is a function and its arguments."""

    @ct.lattice(executor=bench.executor, pack=len(calls))
    def workflow() -> None:
        for function, *arguments in calls:
            ct.electron(function)(*arguments)

    return ct.dispatch(workflow)()


def members_of(result: Result) -> list[dict[str, Any]]:
    """Return all that is known of the tasks of a dispatch."""
    return [result.get_node_result(node_id) for name, node_id in result.nodes() if not name.startswith(":")]


class Pack:
    """Three tasks in one job."""

    def __init__(self, bench: Bench, *, deaf: bool = False) -> None:
        self._bench = bench
        self._folders = {name: bench.notes / name for name in NAMES}

        for folder in self._folders.values():
            folder.mkdir()

        calls = [(bench.tasks.work, str(folder), name, deaf) for name, folder in self._folders.items()]
        self.dispatch_id = dispatch_pack(bench, *calls)
        # Known before a dispatcher is killed: to ask for them afterwards would start another one.
        self._node_ids = [node["node_id"] for node in members_of(ct.get_result(self.dispatch_id))]

    def go(self, *names: str) -> None:
        """Let members come to their end, as soon as they begin; all of them if none is named."""
        for name in names or NAMES:
            (self._folders[name] / "go").touch()

    def bring_to(self, member: str) -> None:
        """Return when the second member is waiting, running or over, and another one runs where it does not."""
        let_go = LET_GO[member]

        for name in NAMES[:let_go]:
            self.go(name)

        self._bench.until(lambda: self.runs(NAMES[let_go]))
        assert self.alive(NAMES[let_go]), "the probe `alive` does not see a task that runs"

    def runs(self, name: str) -> int:
        """Return how often a member has begun."""
        return len(self._bench.noted_below(self._folders[name]))

    def alive(self, name: str) -> list[str]:
        """Return which of the processes that a member has noted live."""
        noted = {process for processes in self._bench.noted_below(self._folders[name]) for process in processes}
        return sorted(noted & set(self._bench.alive()))

    def node(self, name: str) -> dict[str, Any]:
        """Return all that is known of a member now."""
        return self._bench.node(self.dispatch_id, self._node_ids[NAMES.index(name)])

    def cancel(self, *names: str) -> ct.CancelOutcome:
        """Cancel members."""
        return ct.cancel(self.dispatch_id, [self._node_ids[NAMES.index(name)] for name in names])

    def wait_until_cancelled(self, name: str) -> None:
        """Return when a member is cancelled; nothing of it may be alive then."""
        self._bench.until(lambda: self.node(name)["status"] == Status.CANCELLED)
        assert self.alive(name) == [], f"alive while {name} is CANCELLED"

    def check_ended(self, *cancelled: str, again: bool = False) -> Result:
        """The others have their own results, each ran once, and nothing is left.

        Args:
            cancelled: The members that must be cancelled.
            again: Whether they may have run once more, in another job: one that is cancelled only then, too.
        """
        result = self._bench.end(self.dispatch_id)

        for name, node in zip(NAMES, members_of(result), strict=True):
            if name in cancelled:
                assert node["status"] == Status.CANCELLED, f"{name}: {node['status']}: {node['error']}"
                assert node["output"] is None
                assert self.runs(name) <= 1 + again, f"{name} ran {self.runs(name)} times"
            else:
                assert node["status"] == Status.COMPLETED, f"{name}: {node['status']}: {node['error']}"
                assert (node["output"], node["stdout"]) == (name, f"out {name}\n")
                assert 1 <= self.runs(name) <= 1 + again, f"{name} ran {self.runs(name)} times"

        self._bench.check_nothing_left()
        return result
