"""The user's own modules, which have come by value: where a task runs they can be imported all the same.

So a function imports one in its body, and a pool of processes finds the functions that it is given by their names.
Travels with every job, so it needs nothing but Python 3.8.
"""

from __future__ import annotations

import functools
import sys
from types import FunctionType, ModuleType
from typing import Any, Dict, Iterator, List, Set, Tuple

import cloudpickle

#: What has a place in a module and uses what is in it.
DEFINITIONS = (FunctionType, type, functools._lru_cache_wrapper)

#: The modules that have been put where ``import`` looks.
_made: Dict[str, ModuleType] = {}
_NOTHING: Any = object()
#: What has been put into modules and among them, with what was there before.
_set: List[Tuple[Dict[str, Any], str, Any]] = []
_is_task = False


def own_module(name: str) -> ModuleType:
    """Return a module that has come by value, and is still empty."""
    if not _is_task:
        # In a client, which has the real one.
        return ModuleType(name)

    return _made.get(name) or _make(name)


def begin() -> None:
    """Let what is opened from here on be found by ``import``; called where a task begins."""
    global _is_task
    _is_task = True


def end() -> None:
    """Forget the modules of the task: the next one may bring others under the same names."""
    global _is_task
    _is_task = False

    for place, name, before in reversed(_set):
        if before is _NOTHING:
            place.pop(name, None)
        else:
            place[name] = before

    for name, module in _made.items():
        if name in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.unregister_pickle_by_value(module)

    _made.clear()
    _set.clear()


def name_in_modules(function: Any) -> None:
    """Let a function, and what it uses, be found in the modules where they say they are defined."""
    seen: Set[int] = set()
    queue = [function, type(function)]

    for user in queue:
        for value in _definitions_in(user):
            if id(value) not in seen:
                seen.add(id(value))
                queue.append(value)

                if value.__qualname__.isidentifier():
                    module = _made.get(value.__module__) or sys.modules.get(value.__module__)
                    _put(vars(module or _make(value.__module__)), value.__qualname__, value)


def _make(name: str) -> ModuleType:
    package, _, last = name.rpartition(".")
    module = _made[name] = ModuleType(name)
    _put(sys.modules, name, module)
    # That it can be imported here says nothing of where its classes are opened again.
    cloudpickle.register_pickle_by_value(module)

    if package:
        parent = sys.modules.get(package) or _make(package)
        vars(parent).setdefault("__path__", [])
        _put(vars(parent), last, module)

    return module


def _put(place: Dict[str, Any], name: str, value: Any) -> None:
    _set.append((place, name, place.get(name, _NOTHING)))
    place[name] = value


def _definitions_in(value: Any) -> Iterator[Any]:
    """Yield the functions and classes that have come by value among what one of them uses, itself included."""
    members = vars(value).values() if isinstance(value, type) else [getattr(value, "__wrapped__", value)]
    functions = [member for member in members if isinstance(member, FunctionType)]
    used = (found for function in functions for found in list(function.__globals__.values()))
    yield from (found for found in (value, *used) if isinstance(found, DEFINITIONS) and _has_come_by_value(found))


def _has_come_by_value(value: Any) -> bool:
    home = value.__module__
    return isinstance(home, str) and (home == "__main__" or home in _made or home not in sys.modules)
