"""The imports in the body of a function, which are not seen in what it refers to."""

from __future__ import annotations

import dis
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextvars import Context
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType

#: How many packages up, what is imported, and which names of it.
Import = tuple[int, str, tuple[str, ...]]


def modules_imported_in(function: FunctionType) -> Iterator[str]:
    """Yield the names that the imports in a body may mean: of the modules themselves, and of what is taken of them."""
    package = function.__globals__.get("__package__") or ""

    for level, name, taken in _imports_in(function.__code__):
        try:
            whole = importlib.util.resolve_name("." * level + name, package) if level else name
        except ImportError:
            # It fails where it runs, as it does here.
            continue

        yield whole
        yield from (f"{whole}.{item}" for item in taken)


def find_module(name: str) -> tuple[str, str] | None:
    """Return the name and the file of a module that could be imported, found without running any of it; None: none."""
    if name in sys.modules:
        file = file_of(sys.modules[name])
        return None if file is None else (name, file)

    package = name.rpartition(".")[0]

    try:
        # To look into a package takes importing it.
        spec = importlib.util.find_spec(name) if not package or package in sys.modules else None
    except (ImportError, ValueError):
        return None

    file = None if spec is None else spec.origin or _file_in(spec.submodule_search_locations)
    return None if file is None else (name, file)


def file_of(module: ModuleType) -> str | None:
    """Return where a module comes from; of a package without a file, where that would be."""
    file = getattr(module, "__file__", None) or _file_in(getattr(module, "__path__", None))
    return file if isinstance(file, str) else None


def _file_in(folders: Iterable[str] | None) -> str | None:
    folder = next(iter(folders or ()), None)
    return None if folder is None else os.path.join(folder, "__init__.py")


def load(name: str) -> ModuleType | None:
    """Import a module; where that fails, warn and return None: the task may still find another one where it runs."""
    try:
        # In a context of its own: while a lattice is built, what it calls would become a node.
        return Context().run(importlib.import_module, name)
    except (Exception, SystemExit) as error:
        warnings.warn(
            f"module {name!r}, which is imported in the body of a function, cannot be imported here and so does not "
            f"travel with the dispatch: {type(error).__name__}: {error}; it has to be there where the function runs",
            stacklevel=2,
        )
        return None


@lru_cache(maxsize=1000)
def _imports_in(code: CodeType) -> tuple[Import, ...]:
    found: list[Import] = []
    constants: list[object] = []

    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD_") and instruction.opname != "LOAD_NAME":
            constants.append(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            level, taken = constants[-2:]
            names = taken if isinstance(taken, tuple) else ()
            found.append((level if isinstance(level, int) else 0, str(instruction.argval), names))

    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return (*found, *(item for constant in inner for item in _imports_in(constant)))
