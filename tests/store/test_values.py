"""Values as files: whatever a dispatcher that died has left, the next one puts them in place again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from covalent_core._home import Home
from covalent_core._store.values import Values

LARGE = b"x" * 100_000


@pytest.fixture
def values(tmp_path: Path) -> Values:
    home = Home(tmp_path / "home")
    home.create()
    return Values(home)


@pytest.mark.parametrize("way", ["keep", "adopt", "share"])
def test_putting_a_value_in_place_twice_is_the_same_as_once(values: Values, tmp_path: Path, way: str) -> None:
    (tmp_path / "result").write_bytes(LARGE)
    child = values.keep("child", "output", LARGE)
    assert child is not None

    for _ in range(2):
        kept = {
            "keep": lambda: values.keep("parent", "output-0", LARGE),
            "adopt": lambda: values.adopt("parent", "output-0", tmp_path / "result"),
            "share": lambda: values.share("parent", "output-0", child),
        }[way]()

    assert kept == Path("values/parent/output-0")
    assert values.read(kept) == LARGE


def test_where_there_are_no_hard_links_a_value_is_copied(values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    child = values.keep("child", "output", LARGE)
    assert child is not None
    monkeypatch.setattr(os, "link", refuse)

    for _ in range(2):
        assert values.read(values.share("parent", "output-0", child)) == LARGE


def test_a_shared_value_is_flushed_and_so_is_its_name(values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync
    child = values.keep("child", "output", LARGE)
    assert child is not None
    monkeypatch.setattr(os, "fsync", lambda file: (flushed.append(os.readlink(f"/proc/self/fd/{file}")), fsync(file)))
    shared = values.resolve(values.share("parent", "output-0", child))

    assert isinstance(shared, Path)
    assert flushed == [str(shared), str(shared.parent)]
