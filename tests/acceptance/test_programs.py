"""What a program gives when it is just run, it gives as a task, alone and in a pack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probes import ending
from small_programs import PROGRAMS

DRIVER = """
if __name__ == "__main__":
    import json
    import covalent_core as ct

    step = ct.electron(task)
    alone = ct.dispatch_sync(ct.lattice(lambda: step()))()
    packed = ct.dispatch_sync(ct.lattice(lambda: [step(), step()], pack=2))()
    found = [repr(task()), *(repr(value) for value in (alone.result, *(packed.result or [packed.error])))]
    print(json.dumps([*found, alone.error]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give what the programs need to share one dispatcher."""
    folder = tmp_path_factory.mktemp("programs")
    places = {"COVALENT_CORE_HOME": str(folder / "home"), "COVALENT_CORE_CONFIG": str(folder / "config.toml")}

    with ending(folder / "home"):
        yield {**os.environ, **places}


@pytest.mark.parametrize(("files", "script"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_gives_the_same_as_a_task(
    environment: dict[str, str], tmp_path: Path, files: dict[str, str], script: str
) -> None:
    for name, content in {**files, "script.py": script + DRIVER}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    done = subprocess.run([sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain, *others, error = json.loads(done.stdout)

    assert others == [plain] * 3, error
