"""What a client calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex

from covalent_core._client.moments import not_before
from covalent_core._client.spawn import ensure_dispatcher, start_dispatcher
from covalent_core._client.stored import client, new_dispatch, saying, stored_in, wake
from covalent_core._client.waiting import check_timeout, until
from covalent_core._compose.lattice import Lattice
from covalent_core._home import Home, find_home
from covalent_core._model.graph import short
from covalent_core._model.status import Status
from covalent_core.errors import DispatchError, GraphError, ResultTimeoutError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from covalent_core._client.result import Result
    from covalent_core._model.cancellation import CancelOutcome
    from covalent_core._store.store import NewDispatch, Store

P = ParamSpec("P")

#: Why a dispatch was cancelled, where nobody said.
BY_USER = "Cancelled by user"


def dispatch(
    lattice: Lattice[P, Any], *, delay: float | timedelta | None = None, at: datetime | None = None
) -> Callable[P, str]:
    """Return a function that takes the lattice's arguments, dispatches it and returns the dispatch id at once.

    When it returns, the dispatch is on disk and a dispatcher is on its way; the calling process may end.

    Args:
        delay: Seconds, or a timedelta, before which nothing of it starts. They begin when the arguments are given.
        at: The moment before which nothing of it starts, with a time zone. One that has passed is now. Either is kept
            as a moment of the machine's clock, and outlives dispatchers: the dispatch starts when one lives and that
            clock has come so far.

    Raises:
        DispatchError: What is given as `delay` or `at` is no moment.
        GraphError: The lattice does what cannot become a graph.
        ExecutorError: An executor is not installed, its options are wrong, or its hooks do not fit.
        StoreError: The store cannot be used where it is.
        DispatcherError: The dispatch is stored, and its id is in `dispatch_id`, but no dispatcher can be started or
            each fails. Do not dispatch again: the next call that needs a dispatcher starts one for all that is stored.
    """
    if not isinstance(lattice, Lattice):
        raise GraphError(f"ct.dispatch takes a lattice, not {short(lattice)}; decorate the function with @ct.lattice")

    not_before(delay, at)

    def dispatch_with(*args: P.args, **kwargs: P.kwargs) -> str:
        home = find_home()
        # Both take a moment to start, so they start together.
        start_dispatcher(home)
        moment = not_before(delay, at)
        graph = lattice.build_graph(*args, **kwargs)
        return _store_and_wake(home, replace(new_dispatch(lattice, graph, args, kwargs), not_before=moment))

    return dispatch_with


def dispatch_sync(lattice: Lattice[P, Any]) -> Callable[P, Result]:
    """Return a function that dispatches the lattice, waits for its end and returns the result.

    Raises:
        GraphError: As `dispatch`; so are the other errors.
    """

    def dispatch_and_wait(*args: P.args, **kwargs: P.kwargs) -> Result:
        return get_result(dispatch(lattice)(*args, **kwargs), wait=True)

    return dispatch_and_wait


def redispatch(
    dispatch_id: str,
    replace_electrons: Mapping[str, Any] | None = None,
    reuse_previous_results: bool = True,
    *,
    lattice: Lattice[Any, Any] | None = None,
) -> Callable[..., str]:
    """Return a function that dispatches the lattice of a dispatch again and returns the new dispatch id.

    What has completed there is not run again, unless its function, its arguments or something upstream of it is another
    one now. So a dispatch that was cancelled or has failed is taken up where it stopped. The function takes new
    arguments for the lattice; called without any, it takes those of the dispatch.

    The code is that of the dispatch, with the electrons that it has replaced, however the files look now; what has been
    edited since runs where it is given as `lattice` or in `replace_electrons`.

    Args:
        replace_electrons: Electrons or functions to call in place of those of these names.
        reuse_previous_results: False runs everything again.
        lattice: The lattice as it is now, in place of the one that was dispatched.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        DispatchError: It is that of a sublattice.
        GraphError: A replacement is not an electron, or there is nothing of its name.
    """
    from covalent_core._client import reusing

    reusing.check_lattice(lattice)
    replacements = reusing.check_replacements(replace_electrons or {})
    home = find_home()
    found, args, kwargs = reusing.read_lattice(stored_in(home), dispatch_id, lattice)
    chosen = found.replacing(replacements)

    def redispatch_with(*new_args: Any, **new_kwargs: Any) -> str:
        given = (new_args, new_kwargs) if new_args or new_kwargs else (args, kwargs)
        start_dispatcher(home)
        graph = chosen.build_graph(*given[0], **given[1])
        reusing.check_names(graph, replacements)
        new = new_dispatch(chosen, graph, *given)
        new.reused = reusing.reusable(stored_in(home), dispatch_id, graph) if reuse_previous_results else {}
        return _store_and_wake(home, new)

    return redispatch_with


def get_result(dispatch_id: str, wait: bool = False, timeout: float | None = None) -> Result:
    """Return the result of a dispatch as it is now, or with `wait` when the dispatch has ended.

    Args:
        timeout: Seconds to wait at most; None is for ever.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        ResultTimeoutError: It had not ended when the time was up; it goes on.
        DispatcherError: It has not ended, and no dispatcher can be started or each fails.
        DispatchError: The timeout is not a number.
    """
    from covalent_core._client.result import Result

    check_timeout(timeout)
    home = find_home()
    store = stored_in(home)

    if wait:
        _wait(home, store, dispatch_id, timeout)
    elif not store.get_status(dispatch_id).terminal:
        _wake(home, dispatch_id)

    return Result(store, dispatch_id)


def cancel(
    dispatch_id: str,
    task_ids: Iterable[SupportsIndex] | SupportsIndex | None = None,
    *,
    reason: str | None = None,
    wait: bool = False,
    timeout: float | None = None,
    force: bool = False,
) -> CancelOutcome:
    """Cancel a dispatch, or some of its nodes with everything downstream of them.

    When this returns, the order is on disk: what had not started never will, what runs is being ended, and whatever it
    still returns is not taken. A node is CANCELLED when nothing of it is alive any more; until then it is CANCELLING.
    Called again for a node that is CANCELLING, it asks for another attempt now.

    Args:
        task_ids: Node ids, as ``print(result)`` shows them, or one of them. None cancels the whole dispatch.
        reason: Kept, and shown as the error. Default: "Cancelled by user".
        wait: Return when all that was named has ended: then each target says in `confirmed` when it was known that
            nothing of it is alive.
        timeout: Seconds to wait at most; None is for ever. The cancel goes on: only the waiting ends, and what is not
            confirmed yet says so.
        force: Do not wait for ever for a proof that may never come, as where a host is gone for good. One more attempt
            is made; what it does not confirm to have ended is given up: FAILED, with an error that says who gave it up
            and what is not known. CANCELLED stays the word for what is proven.

    Returns:
        What became of each target. True if this call stopped anything, false if it came too late.

    Raises:
        DispatchNotFoundError: There is no such dispatch.
        NodeNotFoundError: It has no such node; then nothing is cancelled.
        SublatticeNodeError: The nodes are those of a sublattice, which can be cancelled only as a whole.
        DispatchError: What is given for the nodes are no integers, or `timeout` is no number or given without `wait`;
            then nothing is cancelled.
        DispatcherError: The order is on disk, and what it did is in `outcome`, but what runs is not being ended: no
            dispatcher can be started or each fails.
    """
    from covalent_core._store.orders import request_cancel

    check_timeout(timeout)

    if timeout is not None and not wait:
        raise DispatchError(f"timeout={timeout!r} bounds the waiting, and nobody waits; say wait=True as well")

    home = find_home()
    named = _node_ids(task_ids)
    outcome = request_cancel(stored_in(home), dispatch_id, named, reason or BY_USER, client(), force=force)

    with saying(f"the cancel is on disk: {outcome}", dispatch_id=dispatch_id, outcome=outcome):
        if not stored_in(home).get_status(dispatch_id).terminal:
            ensure_dispatcher(home)

        if wait:
            from covalent_core._client.confirming import confirm

            return confirm(stored_in(home), outcome, timeout, partial(ensure_dispatcher, home))

    return outcome


def list_dispatches(status: Status | str | Iterable[Status | str] | None = None, limit: int = 100) -> list[Result]:
    """Return the newest dispatches, newest first.

    Args:
        status: Only those with this status, or one of these.
        limit: How many at most.

    Raises:
        DispatchError: There is no such status.
    """
    from covalent_core._client.result import Result

    store = stored_in(find_home())
    wanted = [status] if isinstance(status, str) else status

    try:
        statuses = None if wanted is None else [Status(item) for item in wanted]
    except ValueError as error:
        raise DispatchError(f"{error}; statuses are: {', '.join(Status)}") from None

    return [Result(store, row.dispatch_id) for row in store.list_dispatches(statuses, limit)]


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


def _store_and_wake(home: Home, new: NewDispatch) -> str:
    dispatch_id = stored_in(home).add_dispatch(new)
    _wake(home, dispatch_id)
    return dispatch_id


def _wait(home: Home, store: Store, dispatch_id: str, timeout: float | None) -> None:
    if not until(lambda: store.get_status(dispatch_id).terminal, timeout, partial(_wake, home, dispatch_id)):
        status = store.get_status(dispatch_id)
        raise ResultTimeoutError(f"dispatch {dispatch_id!r} is {status} after {timeout:g} s; it goes on")


def _wake(home: Home, dispatch_id: str) -> None:
    wake(home, f"dispatch {dispatch_id} is stored and waits", dispatch_id=dispatch_id)
