"""What a sublattice has come to, as the end of its node."""

from __future__ import annotations

from typing import Any

from covalent_core._model.cancellation import last_line
from covalent_core._model.status import Status
from covalent_core._store.journal import Journal
from covalent_core._store.transitions import GIVEN_UP, NodeEnd


def own_end(journal: Journal, dispatch_id: str, node_id: int, child: Any) -> NodeEnd:
    """Return the end of a node whose sublattice has ended by itself.

    Args:
        child: The row of the dispatch of the sublattice.
    """
    end = NodeEnd(node_id, Status(child.status), started=child.started, ended=child.ended)

    if end.status == Status.COMPLETED:
        value = journal.store.get_output(child)
        assert value is not None
        end.output = journal.store.values.share(dispatch_id, f"output-{node_id}", value)
    else:
        end.error, end.step = child.error or _why(journal, child), "run"

    return end


def stopped_end(journal: Journal, node_id: int, child: Any, reason: str | None) -> NodeEnd:
    """Return the end of a node that was cancelled: with the proof, unless a node of its sublattice was given up."""
    given_up = [row for row in journal.get_nodes(child.dispatch_id) if row.step == GIVEN_UP]

    if given_up:
        return NodeEnd(node_id, Status.FAILED, last_line(given_up[0].error), GIVEN_UP)

    return NodeEnd(node_id, Status.CANCELLED, reason)


def _why(journal: Journal, child: Any) -> str:
    """Say why a sublattice did not complete: because of the first of its nodes that ended so."""
    nodes = journal.get_nodes(child.dispatch_id)
    first = next(
        (f": {row.name}({row.node_id}): {last_line(row.error)}" for row in nodes if row.status == child.status), ""
    )
    verb = "failed" if child.status == Status.FAILED else "was cancelled"
    return f"sublattice {child.name} (dispatch {child.dispatch_id}) {verb}{first}"
