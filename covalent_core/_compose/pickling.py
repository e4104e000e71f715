"""Pickle what users write, so that it opens where nothing of theirs is installed."""

from __future__ import annotations

import io
import json
import os
import pickle
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import unquote, urlparse

import cloudpickle

from covalent_core._compose.imports import file_of, find_module, load, modules_imported_in
from covalent_core._compose.reducers import CODE, VALUES, Reducers

#: What travels with every job, so that it is found wherever a pickle is opened.
OURS = ("covalent_core", "cloudpickle")


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    def __init__(self, file: io.BytesIO, reference: Callable[[Any], int | None], reducers: Reducers) -> None:
        super().__init__(file)
        self.persistent_id = reference
        self._reducers = reducers

    def reducer_override(self, obj: Any) -> Any:
        reducer = self._reducers.get(type(obj))
        reduced = NotImplemented if reducer is None else reducer(obj)
        reduced = super().reducer_override(obj) if reduced is NotImplemented else reduced

        if isinstance(obj, FunctionType) and reduced is not NotImplemented:
            # Beside the modules of packages that it uses, which cloudpickle has found.
            reduced[2][1]["_cloudpickle_submodules"] += _own_imports(obj)

        return reduced


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, resolve: Callable[[int], Any]) -> None:
        super().__init__(file)
        self._resolve = resolve

    def persistent_load(self, pid: Any) -> Any:
        return self._resolve(pid)


def dumps(value: Any, reference: Callable[[Any], int | None], *, is_code: bool = False) -> bytes:
    """Pickle `value`, writing an id in place of each object for which `reference` gives one.

    Functions and classes of the user's own modules go by value, like those of ``__main__``.

    Args:
        is_code: Whether it is a function: what it needs of its process, such as a lock, it finds anew where it runs. As
            an argument such a thing would not be what it is here, and is refused.
    """
    buffer = io.BytesIO()

    with own_modules_by_value():
        _Pickler(buffer, reference, CODE if is_code else VALUES).dump(value)

    return buffer.getvalue()


def loads(data: bytes, resolve: Callable[[int], Any]) -> Any:
    """Open what `dumps` wrote, asking `resolve` for the object behind each id."""
    return _Unpickler(io.BytesIO(data), resolve).load()


@contextmanager
def own_modules_by_value() -> Iterator[None]:
    """Let cloudpickle treat the modules that no installed package brings like ``__main__``.

    Its registry is one for the whole process: one thread at a time.
    """
    with _registry_lock:
        registered = cloudpickle.list_registry_pickle_by_value()
        own = [module for module in _own_modules() if module.__name__ not in registered]

        for module in own:
            cloudpickle.register_pickle_by_value(module)

        try:
            yield
        finally:
            # With those that have been imported meanwhile.
            for name in cloudpickle.list_registry_pickle_by_value() - registered:
                cloudpickle.unregister_pickle_by_value(sys.modules[name])


_registry_lock = threading.RLock()


def _own_imports(function: FunctionType) -> list[ModuleType]:
    """Return the user's own modules that a function imports in its body, with the packages that they are in."""
    found = []

    for name in modules_imported_in(function):
        for levels in range(name.count("."), -1, -1):
            module = _own_import(name.rsplit(".", levels)[0])
            found += [] if module is None else [module]

    return found


def _own_import(name: str) -> ModuleType | None:
    place = find_module(name)
    module = load(name) if place is not None and _is_own_file(*place) else None

    if module is not None and name not in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.register_pickle_by_value(module)

    return module


#: How many modules there were at the last look, which was the newest, and which of them were the user's own.
_last_look: tuple[int, object, list[ModuleType]] = (0, None, [])


def _own_modules() -> list[ModuleType]:
    """Return the user's own modules; looked for anew only when a module has come or gone since."""
    global _last_look
    count, newest = len(sys.modules), next(reversed(sys.modules.values()))

    # The newest itself and not its id, which another module has when this one is gone.
    if count != _last_look[0] or newest is not _last_look[1]:
        own = [module for name, module in list(sys.modules.items()) if _is_own(name, module)]
        _last_look = (count, newest, own)

    return _last_look[2]


def _is_own(name: str, module: ModuleType) -> bool:
    file = file_of(module)

    if file is None or name in ("__main__", "__mp_main__") or getattr(module, "__name__", "") != name:
        return False

    return _is_own_file(name, file)


@cache
def _is_own_file(name: str, file: str) -> bool:
    path, package = os.path.realpath(file), name.partition(".")[0]

    if package in OURS:
        return False

    if path.startswith(_installation_folders()) or _has_distributions(_root_of(name, path)):
        return False

    return not any(path.startswith(folder) and package in names for folder, names in _editable_installations())


def _root_of(name: str, path: str) -> str:
    """Return the folder of the path from which a module was imported."""
    is_package = os.path.basename(path).startswith("__init__.")
    levels = name.count(".") + 1 + is_package

    for _ in range(levels):
        path = os.path.dirname(path)

    return path


@cache
def _has_distributions(folder: str) -> bool:
    """Whether packages have been installed into a folder, as with ``pip install --target``."""
    return any(name.endswith(".dist-info") for name in os.listdir(folder)) if os.path.isdir(folder) else False


@cache
def _installation_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages(), os.path.dirname(os.__file__)]
    return ("<frozen", *(os.path.realpath(folder) + os.sep for folder in folders))


@cache
def _editable_installations() -> list[tuple[str, frozenset[str]]]:
    """Return the folder and the import names of each package that was installed with ``pip install --editable``.

    Source: PEP 610, ``direct_url.json``.
    """
    found = []

    for distribution in metadata.distributions():
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")

        if origin.get("dir_info", {}).get("editable"):
            names = (distribution.read_text("top_level.txt") or "").split()
            names.append(distribution.metadata["Name"].replace("-", "_").lower())
            folder = os.path.realpath(unquote(urlparse(origin["url"]).path))
            found.append((folder + os.sep, frozenset(names)))

    return found
