"""Naming many dispatches at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta

from covalent_core._client.moments import seconds
from covalent_core._model.status import Status
from covalent_core._model.where import Where
from covalent_core.errors import DispatchError


def where(
    *,
    tag: str | Iterable[str] = (),
    name: str | None = None,
    status: Status | str | Iterable[Status | str] = (),
    executor: str | None = None,
    older_than: float | timedelta | None = None,
) -> Where:
    """Say which dispatches are meant: those that have all of this in common.

    Args:
        tag: A tag that it was dispatched with, or several, all of which it must have.
        name: The name of its lattice.
        status: The status that it has, or several, one of which it must have.
        executor: The name of an executor that runs one of its nodes, or one of a sublattice in it.
        older_than: Seconds, or a timedelta, since it was dispatched.

    Raises:
        DispatchError: Nothing is said, or what is said does not fit.
    """
    before = None if older_than is None else time.time() - seconds("older_than", older_than)
    found = Where(checked_tags(tag), name, statuses(status), executor, before)

    if found == Where():
        raise DispatchError("ct.where() says nothing, and would mean every dispatch; say a tag, a name, a status, …")

    return found


def checked_tags(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return tags, each once.

    Raises:
        DispatchError: One is no text, or empty.
    """
    found = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))

    for tag in found:
        if not isinstance(tag, str) or not tag.strip():
            raise DispatchError(f"a tag is a text that is not empty, not {tag!r}")

    return found


def statuses(given: Status | str | Iterable[Status | str]) -> tuple[Status, ...]:
    """Return statuses.

    Raises:
        DispatchError: There is no such status.
    """
    try:
        return tuple(map(Status, [given] if isinstance(given, str) else given))
    except ValueError as error:
        raise DispatchError(f"{error}; statuses are: {', '.join(Status)}") from None
