"""What clients have in common: the store, who they are, and that nothing hides what is on disk."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from covalent_core._client.spawn import ensure_dispatcher
from covalent_core._compose.lattice import Lattice, dump_for_redispatch
from covalent_core._home import Home
from covalent_core._model.graph import short
from covalent_core.errors import DispatcherError

if TYPE_CHECKING:
    from covalent_core._model.graph import TransportGraph
    from covalent_core._store.rows import NewDispatch
    from covalent_core._store.store import Store


def stored_in(home: Home) -> Store:
    """Return the store of a home, one for all that this process asks."""
    # A forked process must not use its parent's connections.
    return _store_of(home, os.getpid())


@cache
def _store_of(home: Home, process: int) -> Store:
    from covalent_core._store.store import Store

    return Store(home)


def new_dispatch(lattice: Lattice[Any, Any], graph: TransportGraph, args: Any, kwargs: Any) -> NewDispatch:
    """Return a dispatch of this client, with all that is needed to show it and to build its graph again."""
    from covalent_core._store.rows import NewDispatch

    shown = [short(value) for value in args], {name: short(value) for name, value in kwargs.items()}
    return NewDispatch(graph, client(), *shown, *dump_for_redispatch(lattice, args, kwargs))


def client() -> str:
    """Return who calls: user, host and process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container the user may have a number and no name.
        user = f"uid {os.getuid()}"

    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def wake(home: Home, what: str, **known: Any) -> None:
    """Return when a dispatcher looks at the store.

    Args:
        what: What is on disk, for who is told that none can be had; `known` is for the attributes of that error.

    Raises:
        DispatcherError: There is none.
    """
    with saying(what, **known):
        ensure_dispatcher(home)


@contextmanager
def saying(what: str, **known: Any) -> Iterator[None]:
    """Let nothing that goes wrong hide what is on disk already: whoever does not hear of it would do it twice."""
    try:
        yield
    except Exception as error:
        raise DispatcherError(f"{what}; {error}", **known) from (None if isinstance(error, DispatcherError) else error)
    except BaseException as interruption:
        if sys.version_info >= (3, 11):
            interruption.add_note(what)

        raise
