"""Forgetting what has ended: the rows and the values of dispatches, each with those of its sublattices."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from covalent_core._model.status import TERMINAL, Status
from covalent_core._store.schema import (
    attempts,
    cancel_orders,
    cancel_targets,
    dispatches,
    edges,
    functions,
    job_nodes,
    jobs,
    nodes,
    occurrences,
    schedules,
    status_changes,
    tags,
)
from covalent_core._store.store import Store

#: How many dispatches are forgotten in one transaction: others write in between.
CHUNK = 50
#: How old in seconds a folder of values must be that belongs to nothing: a client writes them before it commits.
ORPHAN_SECONDS = 3600.0
#: What has rows of a dispatch, or of a schedule.
OF_A_DISPATCH = (functions, nodes, attempts, edges, jobs, status_changes, cancel_orders, tags)
OF_A_SCHEDULE = (functions, nodes, edges)


def find_ended(store: Store, before: float, statuses: Iterable[Status]) -> list[str]:
    """Return the ids of the dispatches that ended before a moment, oldest first; those of sublattices are not named.

    One whose job has not been released is not among them: something is still to be done for it.
    """
    wanted = [status.value for status in statuses if status in TERMINAL]
    family = dispatches.alias()
    unreleased = select(jobs.c.ticket).join(family, jobs.c.dispatch_id == family.c.dispatch_id)
    unreleased = unreleased.where(family.c.root_dispatch_id == dispatches.c.dispatch_id, jobs.c.released.is_(None))
    query = select(dispatches.c.dispatch_id).where(
        dispatches.c.parent_dispatch_id.is_(None),
        dispatches.c.status.in_(wanted),
        dispatches.c.ended < before,
        ~unreleased.exists(),
    )

    with store.database.read() as connection:
        return list(connection.execute(query.order_by(dispatches.c.ended)).scalars())


def forget(store: Store, dispatch_ids: Sequence[str]) -> None:
    """Remove dispatches that have ended, each whole or not at all."""
    for begin in range(0, len(dispatch_ids), CHUNK):
        roots = dispatch_ids[begin : begin + CHUNK]

        with store.database.write() as connection:
            family = select(dispatches.c.dispatch_id).where(dispatches.c.root_dispatch_id.in_(roots))
            every = list(connection.execute(family).scalars())
            _delete_rows(connection, family)

        # Only now: what has rows has its values. Where nobody comes to this, they are swept.
        for dispatch_id in every:
            store.values.discard_all(dispatch_id)


def sweep(store: Store, before: float) -> None:
    """Remove what nothing needs any more: old instants, ended schedules, and values that no row names."""
    with store.database.write() as connection:
        connection.execute(delete(occurrences).where(occurrences.c.at < before))
        has_dispatch = select(dispatches.c.dispatch_id).where(dispatches.c.schedule == schedules.c.name).exists()
        # Its dispatches share the values of a schedule.
        over = select(schedules.c.schedule_id).where(schedules.c.ended < before, ~has_dispatch)
        ended = list(connection.execute(over).scalars())

        for table in OF_A_SCHEDULE:
            connection.execute(delete(table).where(table.c.dispatch_id.in_(ended)))

        connection.execute(delete(schedules).where(schedules.c.schedule_id.in_(ended)))
        known = {*connection.execute(select(dispatches.c.dispatch_id)).scalars()}
        known |= {*connection.execute(select(schedules.c.schedule_id)).scalars()}

    for folder in [*store.home.values.iterdir()] if store.home.values.exists() else []:
        if folder.name not in known and _is_old(folder):
            store.values.discard_all(folder.name)


def _delete_rows(connection: Connection, family: Select[Any]) -> None:
    tickets = select(jobs.c.ticket).where(jobs.c.dispatch_id.in_(family))
    connection.execute(delete(job_nodes).where(job_nodes.c.ticket.in_(tickets)))
    orders = select(cancel_orders.c.id).where(cancel_orders.c.dispatch_id.in_(family))
    connection.execute(delete(cancel_targets).where(cancel_targets.c.order_id.in_(orders)))

    # That of the dispatches last: the others are found by it.
    for table in (*OF_A_DISPATCH, dispatches):
        connection.execute(delete(table).where(table.c.dispatch_id.in_(family)))


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > ORPHAN_SECONDS
    except FileNotFoundError:
        return False
