"""What a program gives when it is just run, it gives as a task, alone and in a pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from probes import ending
from small_programs import PROGRAMS, check


@pytest.fixture(scope="module", autouse=True)
def one_dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the programs share one."""
    folder = tmp_path_factory.mktemp("programs")

    with ending(folder / "home"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALENT_CORE_HOME", str(folder / "home"))
        patch.setenv("COVALENT_CORE_CONFIG", str(folder / "config.toml"))
        yield


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_the_same_as_a_task(tmp_path: Path, name: str) -> None:
    check(name, tmp_path, "LocalExecutor")
