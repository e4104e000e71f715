"""Forgetting dispatches that have ended."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta

from covalent_core._client.moments import seconds
from covalent_core._client.stored import stored_in
from covalent_core._home import find_home
from covalent_core._model.status import TERMINAL, Status
from covalent_core.errors import DispatchError


def purge(
    older_than: float | timedelta, *, status: Status | str | Iterable[Status | str] | None = None, dry_run: bool = False
) -> list[str]:
    """Forget dispatches that ended so long ago, with their values and those of their sublattices.

    What has not ended, or whose job has not been released, stays. What was taken up again with `redispatch` keeps the
    outputs that it shares with one that is forgotten.

    Args:
        older_than: Seconds since their end, or a timedelta.
        status: Only those that ended with this status, or one of these.
        dry_run: Only say which.

    Returns:
        The dispatch ids, the longest ended first; those of sublattices are not named.

    Raises:
        DispatchError: `older_than` is no time, or `status` none with which anything ends.
    """
    from covalent_core._store.purge import find_ended, forget, sweep

    store = stored_in(find_home())
    before = time.time() - seconds("older_than", older_than)
    found = find_ended(store, before, _ends(status))

    if not dry_run:
        forget(store, found)
        sweep(store, before)

    return found


def _ends(status: Status | str | Iterable[Status | str] | None) -> list[Status]:
    if status is None:
        return list(TERMINAL)

    wanted = [status] if isinstance(status, str) else list(status)
    unknown = [item for item in wanted if item not in set(TERMINAL)]

    if unknown:
        raise DispatchError(f"nothing ends as {unknown[0]!r}; what has ended is {', '.join(sorted(TERMINAL))}")

    return [Status(item) for item in wanted]
