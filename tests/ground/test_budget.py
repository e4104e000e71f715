"""A test that takes long says why, or fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

BUSY = "import budget, pytest, time\nbudget.allowed_seconds = lambda: 0.05\n"


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(BUSY + text)
    command = [sys.executable, "-m", "pytest", "-p", "budget", "-p", "no:randomly", "-p", "no:cacheprovider", "-q"]
    paths = {"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin"}
    return subprocess.run([*command, str(folder)], cwd=folder, env=paths, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("head", "passes"),
    [
        ("", False),
        ('@pytest.mark.long("waits for nothing")\n', True),
    ],
)
def test_what_takes_long_says_why(tmp_path: Path, head: str, passes: bool) -> None:
    ran = run(tmp_path, f"{head}def test_it():\n    time.sleep(0.1)\n")

    assert (ran.returncode == 0) == passes, ran.stdout
    assert ("say why it is long" in ran.stdout) != passes


def test_what_is_prepared_for_many_is_not_charged_to_the_first(tmp_path: Path) -> None:
    ran = run(tmp_path, "@pytest.fixture\ndef slow():\n    time.sleep(0.1)\n\ndef test_it(slow):\n    pass\n")

    assert ran.returncode == 0, ran.stdout


def test_the_reason_must_be_given(tmp_path: Path) -> None:
    ran = run(tmp_path, "@pytest.mark.long\ndef test_it():\n    pass\n")

    assert ran.returncode == 4, ran.stdout
    assert "test_it.py::test_it is marked as long and does not say why" in ran.stderr


def test_what_takes_long_begins_first(tmp_path: Path) -> None:
    ran = run(tmp_path, 'def test_a():\n    pass\n\n@pytest.mark.long("why")\ndef test_b():\n    assert False\n')

    assert ran.stdout.startswith("F."), ran.stdout
