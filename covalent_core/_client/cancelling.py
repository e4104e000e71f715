"""Cancelling, as a client calls it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from math import inf
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from covalent_core._client.spawn import ensure_dispatcher
from covalent_core._client.stored import client, saying, stored_in
from covalent_core._client.waiting import check_timeout
from covalent_core._home import Home, find_home
from covalent_core._model.where import Where
from covalent_core.errors import DispatchError

if TYPE_CHECKING:
    from covalent_core._model.cancellation import CancelOutcome

#: Why a dispatch was cancelled, where nobody said.
BY_USER = "Cancelled by user"


@overload
def cancel(
    dispatch_id: str,
    task_ids: Iterable[SupportsIndex] | SupportsIndex | None = None,
    *,
    reason: str | None = None,
    grace: float | None = None,
    wait: bool = False,
    timeout: float | None = None,
    force: bool = False,
) -> CancelOutcome: ...
@overload
def cancel(
    *,
    where: Where,
    reason: str | None = None,
    grace: float | None = None,
    wait: bool = False,
    timeout: float | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> list[CancelOutcome]: ...
def cancel(
    dispatch_id: str | None = None,
    task_ids: Iterable[SupportsIndex] | SupportsIndex | None = None,
    *,
    where: Where | None = None,
    reason: str | None = None,
    grace: float | None = None,
    wait: bool = False,
    timeout: float | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> CancelOutcome | list[CancelOutcome]:
    """Cancel a dispatch, or some of its nodes with everything downstream of them, or many dispatches at once.

    When this returns, the order is on disk: what had not started never will, what runs is being ended, and whatever it
    still returns is not taken. A node is CANCELLED when nothing of it is alive any more; until then it is CANCELLING.
    Called again for a node that is CANCELLING, it asks for another attempt now.

    Args:
        dispatch_id: The dispatch.
        task_ids: Node ids, as ``print(result)`` shows them, or one of them. None cancels the whole dispatch.
        where: In place of a dispatch all that have something in common and have not ended, see `ct.where`; all of them
            in one transaction.
        reason: Kept, and shown as the error. Default: "Cancelled by user".
        grace: Seconds that what runs is given at most between SIGTERM and SIGKILL, where its electron and its executor
            give it more. 0 kills at once. A later call may give less.
        wait: Return when all that was named has ended: then each target says in `confirmed` when it was known that
            nothing of it is alive.
        timeout: Seconds to wait at most; None is for ever. The cancel goes on: only the waiting ends, and what is not
            confirmed yet says so.
        force: Do not wait for ever for a proof that may never come, as where a host is gone for good. One more attempt
            is made; what it does not confirm to have ended is given up: FAILED, with an error that says who gave it up
            and what is not known. CANCELLED stays the word for what is proven.
        dry_run: Only show what `where` would cancel now, and how.

    Returns:
        What became of each target. True if this call stopped anything, false if it came too late. With `where` a list
        of that, one for each dispatch, the oldest first.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        NodeNotFoundError: It has no such node; then nothing is cancelled.
        SublatticeNodeError: The nodes are those of a sublattice, which can be cancelled only as a whole.
        DispatchError: What is given for the nodes are no integers, `grace` or `timeout` is no number of seconds,
            `timeout` is given without `wait`, or there is both a dispatch and `where`, or neither; then nothing is
            cancelled.
        DispatcherError: The order is on disk, and what it did is in `outcome`, but what runs is not being ended: no
            dispatcher can be started or each fails.
    """
    _check(dispatch_id, task_ids, where, dry_run)
    check_timeout(timeout)
    _check_grace(grace)

    if timeout is not None and not wait:
        raise DispatchError(f"timeout={timeout!r} bounds the waiting, and nobody waits; say wait=True as well")

    from covalent_core._model.cancellation import CancelRequest
    from covalent_core._store.orders import request_cancel, request_cancel_of_all

    home = find_home()
    request = CancelRequest(reason or BY_USER, client(), force=force, grace=grace)

    if where is not None:
        outcomes = request_cancel_of_all(stored_in(home), where, request, dry_run=dry_run)

        if dry_run:
            return outcomes

        with saying(f"the cancels of {len(outcomes)} dispatches are on disk"):
            return _carried_out(home, outcomes, wait=wait, timeout=timeout)

    assert dispatch_id is not None
    outcome = request_cancel(stored_in(home), dispatch_id, _node_ids(task_ids), request)

    with saying(f"the cancel is on disk: {outcome}", dispatch_id=dispatch_id, outcome=outcome):
        return _carried_out(home, [outcome], wait=wait, timeout=timeout)[0]


def _carried_out(
    home: Home, outcomes: list[CancelOutcome], *, wait: bool, timeout: float | None
) -> list[CancelOutcome]:
    """Bring a dispatcher where one is needed, and wait if somebody wants to."""
    store = stored_in(home)

    if any(not store.get_status(outcome.dispatch_id).terminal for outcome in outcomes):
        ensure_dispatcher(home)

    if not wait:
        return outcomes

    from covalent_core._client.confirming import confirm

    deadline = None if timeout is None else time.monotonic() + timeout

    def seconds_left() -> float | None:
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    return [confirm(store, outcome, seconds_left(), partial(ensure_dispatcher, home)) for outcome in outcomes]


def _check_grace(grace: Any) -> None:
    is_number = isinstance(grace, int | float) and not isinstance(grace, bool)

    if grace is not None and not (is_number and 0 <= grace < inf):
        raise DispatchError(f"grace is {grace!r}, expected a number of seconds, 0 or more")


def _check(dispatch_id: Any, task_ids: Any, where: Any, dry_run: bool) -> None:
    if where is not None and not isinstance(where, Where):
        raise DispatchError(f"where is {where!r}, expected ct.where(...)")

    if (dispatch_id is None) == (where is None):
        raise DispatchError("ct.cancel takes a dispatch id, or where=ct.where(...)")

    if where is not None and task_ids is not None:
        raise DispatchError("task_ids are nodes of one dispatch, and where=... may mean many; leave one of them out")

    if dry_run and where is None:
        raise DispatchError("dry_run=True shows what where=... means; a dispatch is shown by print(ct.get_result(id))")


def _node_ids(task_ids: Iterable[SupportsIndex] | SupportsIndex | None) -> list[int] | None:
    if task_ids is None:
        return None

    several = isinstance(task_ids, Iterable) and not isinstance(task_ids, (str, bytes))
    return [_node_id(item) for item in (task_ids if several else [task_ids])]  # type: ignore[union-attr]


def _node_id(given: Any) -> int:
    try:
        if not isinstance(given, bool):
            # The integers of NumPy and others are integers as well.
            return index(given)
    except TypeError:
        pass

    raise DispatchError(f"task_ids takes node ids, which are integers, not {given!r}")
