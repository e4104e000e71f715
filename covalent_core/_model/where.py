"""Which dispatches are meant, by what they have in common."""

from __future__ import annotations

from dataclasses import dataclass

from covalent_core._model.status import Status


@dataclass(frozen=True)
class Where:
    """What dispatches must have in common, all of it; sublattices go with the dispatch that they are part of.

    Attributes:
        tags: The tags that it must have.
        name: The name of its lattice.
        statuses: One of these must be its status.
        executor: The name of an executor that runs one of its nodes.
        created_before: The moment before which it was dispatched, in seconds since the epoch.
    """

    tags: tuple[str, ...] = ()
    name: str | None = None
    statuses: tuple[Status, ...] = ()
    executor: str | None = None
    created_before: float | None = None
