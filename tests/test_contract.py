"""The page about the contract names tests that exist, and the numbers that are true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from covalent_core.testing import ExecutorSuite
from covalent_core.testing._matrix import CELLS, EVENTS, MEMBER_CELLS, PLACES, STEPS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "contract.md").read_text()
FILES = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "covalent_core" / "testing").glob("*.py")]
TESTS = {name for file in FILES for name in re.findall(r"^ *def (test_\w+)\(", file.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)(?:\[[^`]*)?`", PAGE))))
def test_a_test_that_is_named_exists(name: str) -> None:
    assert name in TESTS


def test_each_of_the_thirteen_points_is_beside_a_test() -> None:
    section = PAGE.split("## The thirteen points\n")[1].split("\n## ")[0]
    points = re.split(r"^\*\*(\d+)\. ", section, flags=re.MULTILINE)[1:]

    assert [int(number) for number in points[::2]] == list(range(1, 14))
    assert all("\n- `test_" in point for point in points[1::2])


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert f"{len(CELLS)} cells" in PAGE
    assert f"These are {len(MEMBER_CELLS)} more." in PAGE
    assert all(f"`{name}`" in PAGE for name in (*STEPS, *PLACES, *EVENTS, *{cell.member for cell in MEMBER_CELLS}))


def test_the_suite_is_as_large_as_it_says() -> None:
    sizes = {name: size_of(function) for name, function in inspect.getmembers(ExecutorSuite, inspect.isfunction)}
    about_cancels = sum(size for name, size in sizes.items() if re.search("matrix|cancel|ending|asking", name))

    assert f"a class of {sum(sizes.values())} tests" in PAGE
    assert about_cancels >= 40


def size_of(function: object) -> int:
    """Return how many tests a method of the suite is."""
    if not getattr(function, "__name__", "").startswith("test_"):
        return 0

    sizes = [len(mark.args[1]) for mark in getattr(function, "pytestmark", [])]
    return sizes[0] if sizes else 1
