"""What a call of ``ct.cancel`` did, and the rules by which it is decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from covalent_core._model.status import Status

#: What becomes of a target, by the status in which the cancel found it.
OUTCOMES = {
    Status.NEW_OBJECT: "prevented",
    Status.DISPATCHING: "stopping",
    Status.RUNNING: "stopping",
    Status.CANCELLING: "already cancelling",
    Status.COMPLETED: "too late: COMPLETED",
    Status.FAILED: "too late: FAILED",
    Status.CANCELLED: "too late: CANCELLED",
}


@dataclass(frozen=True)
class CancelRequest:
    """What somebody says who cancels.

    Attributes:
        client: Who that is.
        force: Give up what the dispatcher cannot confirm to have ended in one more attempt.
        grace: Give what runs no more seconds than these between SIGTERM and SIGKILL.
    """

    reason: str
    client: str
    force: bool = False
    grace: float | None = None


@dataclass(frozen=True)
class Haste:
    """What cancel orders say of how a node that runs is to be ended.

    Attributes:
        grace: Seconds that it is given at most; None where nobody has said any.
        given_up_by: Who does not want to wait for the proof that it has ended.
    """

    grace: float | None = None
    given_up_by: str | None = None

    def joined(self, before: Haste) -> Haste:
        """Return what this order and those before it come to: the shortest time, and who was first to give it up."""
        graces = [grace for grace in (self.grace, before.grace) if grace is not None]
        return Haste(min(graces, default=None), before.given_up_by or self.given_up_by)


@dataclass(frozen=True)
class CancelTarget:
    """One node that a cancel named.

    Attributes:
        outcome: ``prevented`` (it will never start), ``stopping`` (it is being ended), ``already cancelling``, or
            ``too late: <status>``.
        confirmed: When it was known that nothing of it is alive, where somebody has waited for that. None where nobody
            has, where it is not known yet, and where it was no cancel that has ended it.
    """

    node_id: int
    name: str
    outcome: str
    confirmed: datetime | None = None

    @property
    def stopped(self) -> bool:
        """Whether this call is what stops the node."""
        return self.outcome in ("prevented", "stopping")

    @property
    def open(self) -> bool:
        """Whether something of the node may still have to be ended."""
        return self.outcome in ("stopping", "already cancelling")


@dataclass(frozen=True, repr=False)
class CancelOutcome:
    """What a call of ``ct.cancel`` did. True if it stopped anything, false if it came too late.

    Attributes:
        whole: Whether the whole dispatch was to be cancelled.
        reason: Why, as it was said.
        targets: What became of each node that was named; for a whole dispatch, of each that had not ended.
    """

    dispatch_id: str
    whole: bool
    reason: str
    targets: tuple[CancelTarget, ...]

    @property
    def confirmed(self) -> bool:
        """Whether somebody has waited until nothing was alive of all that was to be ended."""
        return not self.unconfirmed

    @property
    def unconfirmed(self) -> list[str]:
        """The targets, as ``name(id)``, of which something may be alive as far as this call has waited."""
        open_targets = (target for target in self.targets if target.stopped or target.open)
        return [f"{target.name}({target.node_id})" for target in open_targets if target.confirmed is None]

    def __bool__(self) -> bool:
        return any(target.stopped for target in self.targets)

    def __str__(self) -> str:
        if not self:
            return f"Dispatch {self.dispatch_id}: nothing to cancel{self._why_not()}."

        if self.whole:
            return f"Dispatch {self.dispatch_id} canceled."

        stopped = ", ".join(f"{target.name}({target.node_id})" for target in self.targets if target.stopped)
        return f"Dispatch {self.dispatch_id}: {stopped} canceled."

    def __repr__(self) -> str:
        # What a notebook shows for a cell that ends in `ct.cancel(...)`.
        return repr(str(self))

    def _why_not(self) -> str:
        found = sorted({target.outcome for target in self.targets})
        return f" ({', '.join(found)})" if found else ", it had ended"


def last_line(error: str | None) -> str:
    """Return the line of an error that says what it is: the last of a traceback, without the notes below it."""
    lines = [line for line in (error or "").splitlines() if line.strip() and not line.startswith("(")]
    return lines[-1] if lines else ""


def upstream(node_id: int, name: str, what: str) -> str:
    """Say why a node that never started is cancelled."""
    return f"upstream node {node_id} ({name}) {what}"


def downstream(targets: Callable[[int], Iterable[int]], sources: Collection[int]) -> dict[int, int]:
    """Return every node that needs one of `sources`, directly or not, and which of them it needs first found.

    Args:
        targets: Gives for a node those that need it directly. Only what is downstream is asked for.
    """
    cause = {source: source for source in sources}
    queue = deque(sorted(sources))

    while queue:
        node = queue.popleft()

        for target in targets(node):
            if target not in cause:
                cause[target] = cause[node]
                queue.append(target)

    return {node: source for node, source in cause.items() if node not in sources}
