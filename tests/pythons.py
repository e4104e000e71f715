"""The interpreters that a far side may have."""

from __future__ import annotations

import shutil
import subprocess

import pytest

PYTHONS = [f"python3.{minor}" for minor in range(8, 15)]


def python_or_skip(name: str) -> str:
    """Return the interpreter of this name; a version that is not on this machine cannot be tried on it."""
    found = shutil.which(name)

    if found is None or subprocess.run([found, "-c", ""], capture_output=True).returncode != 0:
        pytest.skip(f"no {name} on this machine")

    return found
