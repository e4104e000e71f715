"""What can be set of an electron besides where it runs, and how it must look."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

from covalent_core.errors import GraphError

_SECONDS = ((int, float), "a number of seconds")

#: The options of an electron: type, in words.
OPTIONS: dict[str, tuple[Any, str]] = {
    "retries": (int, "a whole number, 0 or more"),
    "retry_delay": _SECONDS,
    "timeout": ((int, float), "a number of seconds above 0"),
    "grace": _SECONDS,
}

DEPS = ("deps_pip", "deps_bash", "call_before", "call_after")


def check_options(what: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are set.

    Raises:
        GraphError: One is unknown or does not fit.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise GraphError(f"{what} has no option {name!r}; options: {', '.join(['executor', *OPTIONS, *DEPS])}")

        kind, words = OPTIONS[name]
        fits = value is None or (isinstance(value, kind) and not isinstance(value, bool) and 0 <= value < inf)

        if not fits or (name == "timeout" and value == 0):
            raise GraphError(f"{what}: {name} is {value!r}, expected {words}")

    return {name: value for name, value in options.items() if value is not None}


def check_pack(what: str, pack: int | str | None) -> int | str | None:
    """Return how to pack.

    Raises:
        GraphError: It does not fit.
    """
    number = isinstance(pack, int) and not isinstance(pack, bool) and pack >= 1

    if pack is not None and not number and pack not in ("chain", "auto"):
        raise GraphError(f"{what}: pack is {pack!r}, expected a whole number from 1 on, 'chain' or 'auto'")

    return pack
