"""How to pickle what cloudpickle refuses, or gives back as something that only the far side could look up."""

from __future__ import annotations

import _thread
import functools
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from types import CodeType, ModuleType
from typing import Any, TypeAlias

import cloudpickle

from covalent_core._compose.signature import FILE
from covalent_core._runner.modules import own_module

#: By type what gives the reduced form of an object, or NotImplemented where it goes as always.
Reducers: TypeAlias = Mapping[type, Callable[[Any], Any]]

#: What an import leaves in a module for itself.
OF_THE_IMPORT = ("__builtins__", "__cached__", "__loader__", "__spec__")

#: What ``functools.lru_cache`` makes of a function.
CACHED: type = functools._lru_cache_wrapper


def _cached(function: Any) -> Any:
    """The function goes by value, without what the cache holds."""
    is_of_the_script = function.__module__ == "__main__" or "<locals>" in function.__qualname__

    if not (is_of_the_script or _goes_by_value(function.__module__)):
        return NotImplemented

    parameters = function.cache_parameters()
    info: Any = functools._CacheInfo
    return CACHED, (function.__wrapped__, parameters["maxsize"], parameters["typed"], info), vars(function)


def _module(module: ModuleType) -> Any:
    """It is made first and filled then, so that modules may import each other."""
    if not _goes_by_value(module.__name__):
        return NotImplemented

    state = {name: value for name, value in vars(module).items() if name not in OF_THE_IMPORT}
    return own_module, (module.__name__,), state


def _code(code: CodeType) -> Any:
    """With every cloudpickle the file has the name that `signature` looks for."""
    return cloudpickle.Pickler.dispatch_table[CodeType](code.replace(co_filename=FILE))


def _context_variable(variable: ContextVar[Any]) -> Any:
    try:
        # Where nothing has been set there is only the default.
        default = {"default": Context().run(variable.get)}
    except LookupError:
        default = {}

    return functools.partial(ContextVar, variable.name, **default), ()


def _goes_by_value(module: str) -> bool:
    by_value: set[str] = cloudpickle.list_registry_pickle_by_value()
    packages = {module.rsplit(".", levels)[0] for levels in range(module.count(".") + 1)}
    return bool(packages & by_value)


#: For everything.
VALUES: Reducers = {CACHED: _cached, CodeType: _code, ModuleType: _module}

#: For functions, which find these anew: locks that nobody holds, variables that nothing has been set in, empty caches.
CODE: Reducers = {
    **VALUES,
    # Under the names that they have in every version of Python.
    type(threading.Lock()): lambda _: (_thread.allocate_lock, ()),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    threading.local: lambda _: (threading.local, ()),
    ContextVar: _context_variable,
    weakref.WeakKeyDictionary: lambda _: (weakref.WeakKeyDictionary, ()),
    weakref.WeakValueDictionary: lambda _: (weakref.WeakValueDictionary, ()),
}
