"""A pack that several runners share: each takes the next member that can begin, until none is left.

One process leads: it owns the job, starts the runners with a command that knows how, and says when all of it has ended.
The runners need to know nothing of each other: who makes the ``.process`` of a node runs it, and its outcome is there
for all. A runner that was killed is known by a file of whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional

from .job import Job, ordered_ends
from .processes import claim, own_handle
from .protocol import OUTPUTS
from .records import Outcome, read_outcome, record_of
from .reports import mark_end
from .stop import CANCELLED, TOLD
from .supervisor import Supervisor
from .worker import whole_spec

#: Seconds between looks for what others have left: an outcome that is waited for, an order to end nodes.
PAUSE = 0.25


class Share:
    """The members of a job, as one of its runners sees them.

    Args:
        prefix: The beginning of the names of the files of the job.
        runner: What this runner is called.
        needs: By node, in the order in which they are to begin, the members that it needs.
        leave: Called with the outcome of a member that does not begin.
    """

    def __init__(
        self, prefix: str, runner: str, needs: Dict[int, List[int]], leave: Callable[[int, bytes], None]
    ) -> None:
        self._prefix = prefix
        self._runner = runner
        self._leave = leave
        #: Those that nobody has taken, as far as this runner knows.
        self._free = dict(needs)
        self._ends: Dict[int, str] = {}

    @property
    def is_over(self) -> bool:
        """Whether every member is taken."""
        return not self._free

    def take(self) -> Optional[int]:
        """Take the next member that can begin, and return None if none can yet."""
        for node_id, needs in list(self._free.items()):
            ends = [self._end_of(need) for need in needs]

            if "" in ends or not self._claim(node_id):
                continue

            if all(end == "COMPLETED" for end in ends):
                return node_id

            self._leave(node_id, record_of(Outcome("SKIPPED")))

        return None

    def refuse(self, node_ids: Iterable[int], outcome: Outcome) -> None:
        """See to it that none of these members begins; those that have begun are another's."""
        for node_id in [node_id for node_id in node_ids if node_id in self._free]:
            if self._claim(node_id):
                self._leave(node_id, record_of(outcome))

    def refuse_all(self, outcome: Outcome) -> None:
        self.refuse(list(self._free), outcome)

    def _claim(self, node_id: int) -> bool:
        del self._free[node_id]
        return claim(f"{self._prefix}.{node_id}", self._runner)

    def _end_of(self, node_id: int) -> str:
        """Return how a member has ended, and nothing if that is still to come."""
        if node_id not in self._free and node_id not in self._ends:
            # First whether it can still come: it may come in between.
            lost = has_lost(self._prefix, taker(self._prefix, node_id))

            try:
                header, _, _ = read_outcome(f"{self._prefix}.{node_id}").partition(b"\n")
                self._ends[node_id] = json.loads(header)["status"]
            except FileNotFoundError:
                return "LOST" if lost else ""

        return self._ends.get(node_id, "")


class SharingSupervisor(Supervisor):
    """Run members of a job that it shares with others, one after the other, each as if it were a job of its own.

    Args:
        handle: As that of any supervisor.
        job: The whole job.
        runner: What this runner is called, unlike the others.
    """

    def __init__(self, handle: str, job: Dict[str, Any], runner: str) -> None:
        tasks = {task["node_id"]: task["needs"] for task in whole_spec()["tasks"]}
        needs = {node_id: [need for need in tasks[node_id] if need in tasks] for node_id in job["node_ids"]}
        self._whole = job
        self._end = f"{job['prefix']}.{runner}.ended"
        self._share = Share(job["prefix"], runner, needs, self._leave)
        super().__init__(handle, f"{job['prefix']}.{runner}")
        self._files.reserve(f"{job['prefix']}.{runner}")

    def serve(self) -> None:
        """Go on until every member is taken and those of this runner have ended."""
        super().serve()
        self._files.put(partial(os.symlink, self._handle, self._end))
        self._files.settle(self._is_told)

    def _has_more(self) -> bool:
        """Begin the next member if none runs; return whether one does, or some are left."""
        if self._job is None and self._signals.terminated:
            self._share.refuse_all(TOLD)
        elif self._job is None:
            self._share.refuse(ordered_ends(self._whole["prefix"]), CANCELLED)
            self._begin(self._share.take())

        return self._job is not None or not self._share.is_over

    def _begin(self, node_id: Optional[int]) -> None:
        if node_id is not None:
            self._name_output(f"{self._whole['prefix']}.node-{node_id}")
            self._give(self._alone(node_id))

    def _alone(self, node_id: int) -> Job:
        """Return the job as if it had one node."""
        return Job({**self._whole, "node_ids": [node_id]}, str(node_id).encode())

    def _leave(self, node_id: int, record: bytes) -> None:
        self._files.tell(self._alone(node_id), node_id, record, last=True)

    def _name_output(self, output: str) -> None:
        """Let who looks at what is written while a node runs see of which node it is."""
        for ending in OUTPUTS:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._output + ending, output + ending)

        self._output = output

    def _patience(self) -> float:
        return min(super()._patience(), PAUSE)

    def _looks_for_orders(self, job: Job) -> bool:
        return True

    def _cancel_members(self, job: Job, node_ids: List[int], grace: float) -> None:
        self._share.refuse(node_ids, CANCELLED)
        super()._cancel_members(job, node_ids, grace)

    def _conclude(self, job: Job, clean: bool) -> None:
        self._job = None


def taker(prefix: str, node_id: int) -> str:
    """Return what the runner is called that has taken a node, and nothing if none has."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f"{prefix}.{node_id}.process")

    return ""


def has_lost(prefix: str, runner: str) -> bool:
    """Return whether a runner is known to be gone."""
    return os.path.exists(f"{prefix}.{runner}.over")


def lead(job: Dict[str, Any], command: List[str]) -> int:
    """Run a job with runners that a command starts; return with which exit code to end.

    When this process is told to end, it tells the runners in its own way: a signal would go to the command, which may
    have an idea of its own what that means.
    """
    prefix, node_ids = job["prefix"], job["node_ids"]

    if not claim(prefix, own_handle()):
        return 0

    import subprocess

    signal.signal(signal.SIGTERM, lambda signum, frame: order_ends(prefix, node_ids))
    status = subprocess.Popen(command, start_new_session=True).wait()

    if status < 0 or not have_ended(prefix, node_ids):
        # Something may be alive: to end it, and to say why, is up to who runs this.
        return status if status > 0 else 1

    mark_end(prefix, own_handle())
    return 0


def order_ends(prefix: str, node_ids: List[int]) -> None:
    with open(f"{prefix}.cancel.{os.getpid()}", "w", encoding="utf-8") as file:
        json.dump(node_ids, file)

    os.rename(file.name, prefix + ".cancel")


def have_ended(prefix: str, node_ids: List[int]) -> bool:
    """Return whether every node has had a runner and each of these has ended by itself; then all have outcomes."""
    runners = {taker(prefix, node_id) for node_id in node_ids}
    return all(os.path.lexists(f"{prefix}.{runner}.ended") for runner in runners)
