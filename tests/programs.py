"""The programs that tests need of the machine. Each plugin names them in its pyproject.toml, for those who run nox too.

``[tool.covalent-core.test-programs]`` has a line ``program = "the Debian package that brings it"`` for each.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def find(program: str) -> str | None:
    """Return the path of a program, also of one that only root has in its ``PATH``."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def needed_programs(project: Path) -> dict[str, str]:
    """Return the programs that the tests of a project need, each with the package that brings it."""
    tool = tomllib.loads((project / "pyproject.toml").read_text())["tool"]
    return dict(tool.get("covalent-core", {}).get("test-programs", {}))


def missing_programs(project: Path) -> dict[str, str]:
    """Return those of them that are not here."""
    return {program: package for program, package in needed_programs(project).items() if find(program) is None}


def installation(packages: Iterable[str]) -> list[str]:
    """Return the command that installs packages."""
    return ["apt-get", "install", "--yes", "--no-install-recommends", *sorted(set(packages))]


def is_complete_run() -> bool:
    """Return whether all tests must run: where ``CI=true``, what is left out is a failure."""
    return os.environ.get("CI", "").lower() == "true"


def left_out(missing: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the sentence that says which tests were left out, and how to have them; None if all have run.

    Args:
        missing: For each project, what `missing_programs` returns.
    """
    parts = [f"those of {name} that need {', '.join(programs)}" for name, programs in missing.items() if programs]
    packages = [package for programs in missing.values() for package in programs.values()]
    return f"Left out: {'; '.join(parts)}. To run them: sudo {' '.join(installation(packages))}" if parts else None


def need(project: Path, *programs: str) -> None:
    """Skip the test that asks if one of these programs is not here; fail it where all tests must run.

    Raises:
        KeyError: The project does not name a program, so nobody would see to it.
    """
    packages = needed_programs(project)

    if missing := {program: packages[program] for program in programs if find(program) is None}:
        leave_out(f"needs {', '.join(missing)}; sudo {' '.join(installation(missing.values()))}")


def leave_out(reason: str) -> NoReturn:
    """Skip a test that cannot run here; fail it where all tests must run."""
    # Who runs nox need not have it.
    import pytest

    if is_complete_run():
        pytest.fail(reason, pytrace=False)

    pytest.skip(reason)
