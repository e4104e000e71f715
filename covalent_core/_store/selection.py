"""The dispatches that have something in common, as conditions of a query."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select

from covalent_core._model.where import Where
from covalent_core._store.schema import dispatches, executors, nodes, tags


def conditions(where: Where) -> list[ColumnElement[bool]]:
    """Return what holds of the rows of the dispatches that are meant."""
    found: list[ColumnElement[bool]] = [dispatches.c.parent_dispatch_id.is_(None)]
    found += [_has_tag(tag) for tag in where.tags]
    found += [] if where.name is None else [dispatches.c.name == where.name]
    found += [dispatches.c.status.in_([status.value for status in where.statuses])] if where.statuses else []
    found += [] if where.executor is None else [_runs_on(where.executor)]
    found += [] if where.created_before is None else [dispatches.c.created < where.created_before]
    return found


def _has_tag(tag: str) -> ColumnElement[bool]:
    return select(tags.c.tag).where(tags.c.dispatch_id == dispatches.c.dispatch_id, tags.c.tag == tag).exists()


def _runs_on(executor: str) -> ColumnElement[bool]:
    """Whether a node of the dispatch, or of a sublattice in it, is one of an executor."""
    family = dispatches.alias()
    query = select(nodes.c.node_id).join(family, nodes.c.dispatch_id == family.c.dispatch_id)
    query = query.join(executors, nodes.c.executor_id == executors.c.id)
    return query.where(family.c.root_dispatch_id == dispatches.c.dispatch_id, executors.c.name == executor).exists()
