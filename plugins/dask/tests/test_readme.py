"""What the README says: its code runs and prints what it shows, and its table has the options and their defaults."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from covalent_core_dask import DaskExecutor

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


def test_the_code_prints_what_is_shown(home, tmp_path, monkeypatch) -> None:
    blocks = BLOCK.findall(README)
    program = tmp_path / "readme.py"
    program.write_text("\n".join(text for language, text in blocks if language == "python"))
    monkeypatch.setenv("HOME", str(tmp_path))
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=90)

    assert run.stderr == ""
    assert run.stdout == "".join(text for language, text in blocks if language == "text")
    (left,) = (tmp_path / "covalent-workdir").iterdir()
    assert left.suffix == ".zip"
    assert left.stat().st_size < 15_000


def test_the_table_has_every_option_with_its_default() -> None:
    rows = dict(ROW.findall(README))
    fields = {field.name: field for field in dataclasses.fields(DaskExecutor)}

    assert list(rows) == list(fields)

    for name, field in fields.items():
        if field.default not in (None, "", dataclasses.MISSING):
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert rows[name].strip("`") == shown
