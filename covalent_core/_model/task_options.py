"""What can be set of an electron besides where it runs, and of every executor, and how it must look."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

from covalent_core.errors import ExecutorOptionError, GraphError

_SECONDS = ((int, float), "a number of seconds, 0 or more")

#: The options of an electron: type, in words.
OPTIONS: dict[str, tuple[Any, str]] = {
    "retries": (int, "a whole number, 0 or more"),
    "retry_delay": _SECONDS,
    "timeout": ((int, float), "a number of seconds above 0"),
    "grace": _SECONDS,
}

#: What the core itself reads of the options of any executor.
READ_BY_THE_CORE = ("max_workers", "grace", "pack")

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


def check_executor_options(executor: str, options: Mapping[str, Any]) -> None:
    """Check what the core itself reads of the options of an executor, whichever that is; no option is not a number.

    Raises:
        ExecutorOptionError: A value does not fit; one that is None or missing does.
    """
    workers = options.get("max_workers")

    if workers is not None and not _counts(workers):
        raise ExecutorOptionError(f"{executor}: max_workers is {workers!r}, expected a whole number from 1 on")

    try:
        check_options(executor, {"grace": options.get("grace")})
        check_pack(executor, options.get("pack"))
    except GraphError as error:
        raise ExecutorOptionError(str(error)) from None

    for name, value in options.items():
        if isinstance(value, float) and isnan(value):
            raise ExecutorOptionError(f"{executor}: {name} is {value!r}, expected a number")


def check_executor(executor: Any) -> None:
    """Check these options of an executor that somebody names; the others are checked when it is stored.

    Raises:
        ExecutorOptionError: A value does not fit.
    """
    kept = getattr(executor, "__dict__", {})
    check_executor_options(type(executor).__name__, {name: kept.get(name) for name in READ_BY_THE_CORE})


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_pack(what: str, pack: int | str | None) -> int | str | None:
    """Return how to pack.

    Raises:
        GraphError: It does not fit.
    """
    if pack is not None and not _counts(pack) and pack not in ("chain", "auto"):
        raise GraphError(f"{what}: pack is {pack!r}, expected a whole number from 1 on, 'chain' or 'auto'")

    return pack
