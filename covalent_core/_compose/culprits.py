"""Find what it is in a function that cannot be pickled, so that the error names it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

ADVICE_FOR_VALUES = "pass plain data instead, or create the object inside the electron"
ADVICE_FOR_CODE = "create it inside the function"


def explain(value: Any, error: Exception, can_be_pickled: Callable[[Any], bool], *, is_code: bool) -> str:
    """Return why a value cannot be pickled and what to do, for the end of a sentence."""
    found = find_culprit(value, can_be_pickled) if is_code else None
    return f"{error}; {ADVICE_FOR_VALUES}" if found is None else f"it uses {found}: {error}; {ADVICE_FOR_CODE}"


def find_culprit(function: Any, can_be_pickled: Callable[[Any], bool]) -> str | None:
    """Return the first thing that a function uses, itself or through others, that cannot be pickled; None: no idea.

    Args:
        can_be_pickled: Whether a single thing of those can.
    """
    seen: set[int] = set()
    queue = [function]

    for user in queue:
        for where, value in _used_by(user):
            if id(value) in seen or can_be_pickled(value):
                continue

            seen.add(id(value))

            if not any(_used_by(value)):
                return f"{where}, a {type(value).__qualname__}"

            queue.append(value)

    return None


def _used_by(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function, a class or a module uses, each with where it is."""
    function = inspect.unwrap(value) if isinstance(value, FunctionType) else getattr(value, "__wrapped__", value)

    if isinstance(function, functools.partial):
        yield from ((f"the {place} argument bound to it", item) for place, item in enumerate(function.args, 1))
        yield f"the function {function.func!r}", function.func
    elif isinstance(function, FunctionType):
        yield from _globals_of(function)
        yield from _closure_of(function)
    elif isinstance(function, (type, ModuleType)):
        what = f"{'module' if isinstance(function, ModuleType) else 'class'} {function.__name__!r}"
        own = (item for item in vars(function).items() if not item[0].startswith("__"))
        yield from ((f"{name!r} of {what}", item) for name, item in own)
    elif hasattr(function, "function"):
        # An electron or a lattice.
        yield f"the function {function.function!r}", function.function


def _globals_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    module = function.__module__

    for name in _names_in(function.__code__):
        if name in function.__globals__:
            yield f"the global {name!r} of module {module!r}", function.__globals__[name]


def _closure_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{name!r}, which is defined around {function.__qualname__}", cell.cell_contents
        except ValueError:
            # Nothing has been put there yet.
            continue


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names

    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
