"""An exception of a task comes back as itself, or as what says honestly what it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks import finished

import covalent_core as ct
from covalent_core import Status
from covalent_core._home import find_home
from covalent_core._store.store import Store
from covalent_core.errors import ForeignError


class ArgumentsError(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"code {code}: {detail}")
        self.code, self.detail = code, detail


class KeywordsError(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class PlaceError(OSError):
    def __init__(self, place: str) -> None:
        super().__init__(2, f"nothing at {place}", place)
        self.place = place


class LockError(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code, self.lock = code, threading.Lock()


class ReduceError(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class TextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def cause_of(make: Callable[[], BaseException], cause: type[BaseException] | None = None) -> Any:
    """Return what comes back of an exception that a task makes and raises."""

    def fail() -> None:
        raise make() from (cause and cause("seven by nothing"))

    result = finished(ct.dispatch(ct.lattice(lambda: ct.electron(fail)()))())
    assert result.status == Status.FAILED

    with pytest.raises(ct.errors.TaskRuntimeError) as caught:
        result.raise_for_error()

    return caught.value.__cause__


@pytest.mark.parametrize(
    "make",
    [
        lambda: ArgumentsError(3, "bad"),
        lambda: KeywordsError(code=4),
        lambda: PlaceError("/nowhere"),
        lambda: FileNotFoundError(2, "No such file", "/nowhere"),
        lambda: ReduceError("text"),
        lambda: KeyError("name"),
        lambda: StopIteration(5),
        lambda: SystemExit(3),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_it_comes_back_as_itself(home: Path, make: Callable[[], BaseException]) -> None:
    found, error = cause_of(make), make()

    assert type(found) is type(error)
    assert (found.args, str(found), vars(found)) == (error.args, str(error), vars(error))
    assert getattr(found, "filename", None) == getattr(error, "filename", None)


def test_what_it_comes_from_comes_with_it(home: Path) -> None:
    found = cause_of(lambda: ArgumentsError(9, "chained"), ZeroDivisionError)

    assert type(found) is ArgumentsError
    assert repr(found.__cause__) == "ZeroDivisionError('seven by nothing')"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brought groups of exceptions")
def test_a_group_comes_back_with_its_members(home: Path) -> None:
    found = cause_of(lambda: ExceptionGroup("two", [ArgumentsError(1, "first"), KeywordsError(code=2)]))  # noqa: F821

    assert [type(member) for member in found.exceptions] == [ArgumentsError, KeywordsError]
    assert found.exceptions[0].detail == "first"


def test_an_attribute_that_cannot_travel_is_left_out(home: Path) -> None:
    found = cause_of(lambda: LockError("text", 7))

    assert (type(found), str(found), vars(found)) == (LockError, "text", {"code": 7})


def test_one_that_cannot_be_pickled_has_a_stand_in(home: Path) -> None:
    found = cause_of(TextError)

    assert (type(found), found.kind) == (ForeignError, "TextError")
    assert str(found) == "TextError: its text cannot be shown: that raises RuntimeError"


def test_one_that_this_process_cannot_open_has_a_stand_in(home: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError("seven by nothing")

    dispatch_id = ct.dispatch(ct.lattice(lambda: ct.electron(fail)()))()
    finished(dispatch_id)

    with Store(find_home()).database.write() as connection:
        connection.exec_driver_sql("UPDATE nodes SET exception = ?", (b"=cnowhere\nWrong\n.",))

    found = ct.get_result(dispatch_id).get_node_result(0)["exception"].__cause__

    assert (type(found), found.kind) == (ForeignError, "ZeroDivisionError")
    assert str(found).startswith("ZeroDivisionError: seven by nothing (it cannot be opened here: ModuleNotFoundError")
