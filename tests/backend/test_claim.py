"""Who makes a claim first owns the job."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from covalent_core._runner.processes import claim
from covalent_core.backend import NOBODY, Claim
from covalent_core.errors import BackendUnreachableError


def by_condition(path: Path) -> Claim:
    """Return a claim as an object store has it: written only if there is none."""
    objects: dict[Path, str] = {}
    return Claim(lambda owner: objects.setdefault(path, owner))


CLAIMS: list[Callable[[Path], Claim]] = [Claim.by_link, Claim.by_file, by_condition]


@pytest.fixture(params=CLAIMS, ids=["link", "file", "condition"])
def claimed(request: pytest.FixtureRequest, tmp_path: Path) -> Claim:
    made: Claim = request.param(tmp_path / "claim")
    return made


def test_the_first_has_it_and_the_others_hear_who(claimed: Claim) -> None:
    assert [claimed.take(owner) for owner in ("first", "second", "first")] == ["first"] * 3
    assert claimed.bar() == "first"


def test_what_is_barred_is_nobodys(claimed: Claim) -> None:
    assert claimed.bar() is None
    assert claimed.bar() is None
    assert claimed.take("late") == NOBODY


@pytest.mark.parametrize("kind", [Claim.by_link, Claim.by_file], ids=["link", "file"])
def test_of_many_at_once_one_has_it(kind: Callable[[Path], Claim], tmp_path: Path) -> None:
    def take(owner: int) -> str:
        while True:
            try:
                return kind(tmp_path / "claim").take(f"owner {owner}")
            except BackendUnreachableError:
                continue

    with ThreadPoolExecutor(16) as threads:
        owners = set(threads.map(take, range(200)))

    assert len(owners) == 1


def test_a_name_that_is_not_written_yet_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "claim").touch()

    with pytest.raises(BackendUnreachableError, match="has not written a name into it yet"):
        Claim.by_file(tmp_path / "claim").bar()


def test_it_is_the_claim_of_a_runner(tmp_path: Path) -> None:
    path = f"{tmp_path}/ct-a-1-0.process"

    assert claim(path.removesuffix(".process"), "4711.1.tag")
    assert Claim.by_link(path).bar() == "4711.1.tag"

    os.unlink(path)

    assert Claim.by_link(path).bar() is None
    assert not claim(path.removesuffix(".process"), "4711.1.tag")
