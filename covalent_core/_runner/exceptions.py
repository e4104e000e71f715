"""Exceptions on their way to the client: as themselves, with their attributes, or as a stand-in that says what it was.

Travels with every job, and is imported where an exception is opened, so it needs nothing but Python 3.8.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from typing import Any, Dict, Tuple, Type

import cloudpickle

from covalent_core.errors import ForeignError


def dumps_exception(error: BaseException) -> bytes:
    """Pickle an exception so that it opens whatever its class makes of its arguments.

    An attribute that cannot be pickled is left out. What cannot be pickled at all is a `ForeignError` instead.
    """
    for pickler, is_exact in ((cloudpickle.Pickler, True), (_Pickler, True), (_PatientPickler, False)):
        # All of it is the user's: it may raise what it likes, end the process, or fail only when it is opened.
        with contextlib.suppress(BaseException):
            content = _dumps(pickler, error)
            opened = pickle.loads(content)

            if _is_same(opened, error) and (not is_exact or _state(opened).keys() == _state(error).keys()):
                return content

    return pickle.dumps(stand_in(error))


def stand_in(error: BaseException) -> ForeignError:
    """Return what stands for an exception that cannot be pickled."""
    try:
        text = str(error)
    except BaseException as another:
        text = f"its text cannot be shown: that raises {type(another).__name__}"

    return ForeignError(type(error).__qualname__, text)


def make_exception(kind: Type[BaseException], arguments: Tuple[Any, ...]) -> BaseException:
    """Make an exception without calling what its class makes of its arguments."""
    base = _built_in(kind)
    made: BaseException = base.__new__(kind, *arguments)
    base.__init__(made, *arguments)
    return made


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseException):
            return make_exception, (type(obj), _arguments(obj)), self.state(obj)

        return super().reducer_override(obj)

    def state(self, error: BaseException) -> Dict[str, Any]:
        return _state(error)


class _PatientPickler(_Pickler):
    def state(self, error: BaseException) -> Dict[str, Any]:
        return {name: value for name, value in _state(error).items() if _can_be_pickled(value)}


def _built_in(kind: Type[BaseException]) -> Any:
    return next(base for base in kind.__mro__ if base.__module__ == "builtins")


def _arguments(error: BaseException) -> Tuple[Any, ...]:
    # Some of those that Python brings keep more than their `args`, as OSError does the name of the file.
    arguments: Tuple[Any, ...] = _built_in(type(error)).__reduce__(error)[1]
    return arguments


def _state(error: BaseException) -> Dict[str, Any]:
    """Return the attributes of an exception, and what it comes from."""
    origin = {"__cause__": error.__cause__, "__context__": error.__context__}
    origin = {name: value for name, value in origin.items() if value is not None}
    return {**vars(error), **origin, "__suppress_context__": error.__suppress_context__}


def _dumps(pickler: Any, error: BaseException) -> bytes:
    buffer = io.BytesIO()
    pickler(buffer).dump(error)
    return buffer.getvalue()


def _is_same(opened: Any, error: BaseException) -> bool:
    return type(opened) is type(error) and str(opened) == str(error)


def _can_be_pickled(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:
        return False

    return True
