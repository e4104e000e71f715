"""Programs that need more of their process than their functions run on a host where nothing is installed."""

from __future__ import annotations

import pytest
from small_programs import check


@pytest.mark.parametrize(
    "name",
    [
        "a cache in a module",
        "a lock in the script",
        "a package that imports itself by its name",
        "an import in the body of a function of a package",
        "a pool in a module",
        "an enumeration",
    ],
)
def test_a_program_gives_the_same_as_a_task(home, options, tmp_path, name) -> None:
    (tmp_path / "program").mkdir()
    check(name, tmp_path / "program", "SSHExecutor", **options)
