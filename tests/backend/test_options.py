"""An option that a user brings along from elsewhere gets one sentence, whichever way it came."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from covalent_core._executors.options import create_from, dump_options
from covalent_core.backend import options
from covalent_core.errors import ExecutorOptionError


@options(
    renamed={"time_limit": "time"},
    retired={"sshproxy": "is not needed: run sshproxy, and name its key with ssh_key_file="},
    ignored={"cache_dir": "has no effect: nothing is kept on this machine"},
)
@dataclass
class Executor:
    """An executor.

    Attributes:
        time: The time limit.
    """

    time: int = 5
    ssh_key_file: str | None = None


def by_keyword(**given: Any) -> Executor:
    return Executor(**given)


def by_configuration_or_store(**given: Any) -> Executor:
    made: Executor = create_from(Executor, given)
    return made


WAYS = pytest.mark.parametrize("make", [by_keyword, by_configuration_or_store])


@WAYS
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("time_limit", "Executor has no option 'time_limit'; here it is called 'time'"),
        ("sshproxy", "Executor: sshproxy is not needed: run sshproxy, and name its key with ssh_key_file="),
        ("tyme", "Executor has no option 'tyme'; valid options: time, ssh_key_file"),
    ],
)
def test_an_option_that_has_no_place_here_says_what_has(
    make: Callable[..., Executor], option: str, sentence: str
) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        make(**{option: 3})

    assert str(caught.value) == sentence


@WAYS
def test_an_option_without_effect_is_left_out_with_a_warning(make: Callable[..., Executor]) -> None:
    with pytest.warns(UserWarning, match="Executor: cache_dir has no effect: nothing is kept on this machine"):
        made = make(cache_dir="/tmp", time=7)

    assert made == Executor(7)
    assert "cache_dir" not in dump_options("executor", made)


def test_the_warning_is_about_the_line_of_the_user() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Executor(cache_dir="/tmp")  # type: ignore[call-arg]

    assert caught[0].filename == __file__


@WAYS
def test_its_own_options_are_as_they_were(make: Callable[..., Executor]) -> None:
    assert make(time=9, ssh_key_file="key") == Executor(9, "key")


def test_a_class_without_such_options_is_as_it_was() -> None:
    @dataclass
    class Plain:
        """An executor."""

        time: int = 5

    with pytest.raises(ExecutorOptionError, match="Plain has no option 'cache_dir'; valid options: time"):
        create_from(Plain, {"cache_dir": 3})
