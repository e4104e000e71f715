"""What the README says: its code runs and prints what it shows, and its table has the options and their defaults."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from covalent_core_braket import BraketExecutor
from covalent_core_braket._executor import LOCAL_SIMULATOR

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
    assert list((tmp_path / ".cache" / "covalent-core-braket").iterdir()) == []


def test_the_table_has_every_option_with_its_default() -> None:
    rows = dict(ROW.findall(README))
    fields = {field.name: field for field in dataclasses.fields(BraketExecutor)}

    assert list(rows) == list(fields)
    assert rows["device"].strip("`") == LOCAL_SIMULATOR

    for name, field in fields.items():
        if field.default not in (None, "", dataclasses.MISSING):
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert rows[name].strip("`") == shown


def test_to_import_the_plugin_imports_nothing_of_amazons() -> None:
    found = "[name for name in ('boto3', 'botocore', 'braket') if name in sys.modules]"
    look = f"import sys, covalent_core_braket; print({found})"
    run = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)

    assert run.stdout == "[]\n"
