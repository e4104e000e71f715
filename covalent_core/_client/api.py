"""What a client calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec

from covalent_core._client.choosing import checked_tags, statuses
from covalent_core._client.moments import not_before
from covalent_core._client.spawn import start_dispatcher
from covalent_core._client.stored import new_dispatch, stored_in, wake
from covalent_core._client.waiting import check_timeout, until
from covalent_core._compose.lattice import Lattice
from covalent_core._home import Home, find_home
from covalent_core._model.graph import short
from covalent_core._model.status import Status
from covalent_core.errors import GraphError, ResultTimeoutError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from covalent_core._client.result import Result
    from covalent_core._model.where import Where
    from covalent_core._store.rows import NewDispatch
    from covalent_core._store.store import Store

P = ParamSpec("P")


def dispatch(
    lattice: Lattice[P, Any],
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    tags: str | Iterable[str] = (),
) -> Callable[P, str]:
    """Return a function that takes the lattice's arguments, dispatches it and returns the dispatch id at once.

    When it returns, the dispatch is on disk and a dispatcher is on its way; the calling process may end.

    Args:
        delay: Seconds, or a timedelta, before which nothing of it starts. They begin when the arguments are given.
        at: The moment before which nothing of it starts, with a time zone. One that has passed is now. Either is kept
            as a moment of the machine's clock, and outlives dispatchers: the dispatch starts when one lives and that
            clock has come so far.
        tags: Words under which it can be found with others, see `where`; who takes it up again keeps them.

    Raises:
        DispatchError: What is given as `delay` or `at` is no moment, or a tag is no text.
        GraphError: The lattice does what cannot become a graph.
        ExecutorError: An executor is not installed, its options are wrong, or its hooks do not fit.
        StoreError: The store cannot be used where it is.
        DispatcherError: The dispatch is stored, and its id is in `dispatch_id`, but no dispatcher can be started or
            each fails. Do not dispatch again: the next call that needs a dispatcher starts one for all that is stored.
    """
    if not isinstance(lattice, Lattice):
        raise GraphError(f"ct.dispatch takes a lattice, not {short(lattice)}; decorate the function with @ct.lattice")

    not_before(delay, at)
    words = checked_tags(tags)

    def dispatch_with(*args: P.args, **kwargs: P.kwargs) -> str:
        home = find_home()
        # Both take a moment to start, so they start together.
        start_dispatcher(home)
        moment = not_before(delay, at)
        graph = lattice.build_graph(*args, **kwargs)
        return _store_and_wake(home, replace(new_dispatch(lattice, graph, args, kwargs), not_before=moment, tags=words))

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
        new.tags = stored_in(home).get_tags(dispatch_id)
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


def list_dispatches(
    status: Status | str | Iterable[Status | str] | None = None, limit: int = 100, *, where: Where | None = None
) -> list[Result]:
    """Return the newest dispatches, newest first.

    Args:
        status: Only those with this status, or one of these.
        limit: How many at most.
        where: Only those that have this in common, see `where`, without those of sublattices.

    Raises:
        DispatchError: There is no such status.
    """
    from covalent_core._client.result import Result

    store = stored_in(find_home())
    wanted = None if status is None else statuses(status)
    return [Result(store, row.dispatch_id) for row in store.list_dispatches(wanted, limit, where)]


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
