"""What the README says: its code runs and prints what it shows, and its table has the options and their defaults."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from getpass import getuser
from pathlib import Path

import pytest

from covalent_core_ssh import SSHExecutor

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


@pytest.fixture
def cluster(shared_home: Path, far):
    """Let ``ssh cluster`` work."""
    far.trust(far.port)
    folder = shared_home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "config").write_text(
        f"Host cluster\n HostName 127.0.0.1\n Port {far.port}\n User {getuser()}\n IdentityFile {far.key}\n"
        f" UserKnownHostsFile {far.known_hosts}\n"
    )
    yield
    (folder / "config").unlink()


@pytest.mark.long("runs every block of a page")
def test_the_code_prints_what_is_shown(far, cluster, tmp_path) -> None:
    blocks = BLOCK.findall(README)
    program = tmp_path / "readme.py"
    program.write_text("\n".join(text for language, text in blocks if language == "python"))
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)

    assert run.stderr == ""
    assert run.stdout == "".join(text for language, text in blocks if language == "text")


def test_the_table_has_every_option_with_its_default() -> None:
    rows = dict(ROW.findall(README))
    fields = {field.name: field for field in dataclasses.fields(SSHExecutor)}

    assert list(rows) == list(fields)

    for name, field in fields.items():
        if field.default not in (None, dataclasses.MISSING):
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert rows[name].strip("`") == shown
