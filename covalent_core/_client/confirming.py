"""Waiting for the proof that what was cancelled has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from covalent_core._client.waiting import until
from covalent_core._model.cancellation import CancelOutcome, CancelTarget
from covalent_core._model.status import Status
from covalent_core._store.store import Store


def confirm(store: Store, outcome: CancelOutcome, timeout: float | None, wake: Callable[[], None]) -> CancelOutcome:
    """Return what a cancel did, with the moment at which each target was known to have ended, when all have.

    Args:
        timeout: Seconds to wait at most; then those that are still being ended have no such moment.
        wake: Brings a dispatcher back, where the last one has died.
    """
    until(lambda: _have_ended(store, outcome), timeout, wake)
    _, nodes = store.get_dispatch(outcome.dispatch_id)
    found = {row.node_id: row for row in nodes}
    return replace(outcome, targets=tuple(_with_moment(target, found[target.node_id]) for target in outcome.targets))


def _have_ended(store: Store, outcome: CancelOutcome) -> bool:
    if outcome.whole:
        return store.get_status(outcome.dispatch_id).terminal

    named = {target.node_id for target in outcome.targets}
    _, nodes = store.get_dispatch(outcome.dispatch_id)
    return all(Status(row.status).terminal for row in nodes if row.node_id in named)


def _with_moment(target: CancelTarget, row: Any) -> CancelTarget:
    # Who was given up is FAILED, and nobody knows.
    known = row.status == Status.CANCELLED and row.ended is not None
    return replace(target, confirmed=datetime.fromtimestamp(row.ended, timezone.utc) if known else None)
