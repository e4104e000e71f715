"""What the README says: its code runs and prints what it shows, and its table has the options and their defaults."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

from covalent_core_awsbatch import AWSBatchExecutor

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)

#: What is AWS's own default is None here.
OF_AWS = {"batch_job_log_group_name", "credentials", "ephemeral_storage", "architecture", "shared_memory"}


def test_the_code_prints_what_is_shown(home: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall(README)
    program = tmp_path / "readme.py"
    program.write_text("\n".join([*(text for language, text in blocks if language == "python"), "aws.stop()"]))
    command = [sys.executable, "-c", f"exec(open({str(program)!r}).read())"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parent)

    assert run.stderr == ""
    assert run.stdout == "".join(text for language, text in blocks if language == "text")


def test_the_table_has_every_option_with_its_default() -> None:
    rows = dict(ROW.findall(README))
    fields = {field.name: field for field in dataclasses.fields(AWSBatchExecutor)}

    assert list(rows) == list(fields)

    for name, field in fields.items():
        if field.default not in (None, dataclasses.MISSING) and name not in OF_AWS:
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert rows[name].strip("`") == shown


def test_the_policies_are_json() -> None:
    policies = [json.loads(text) for language, text in BLOCK.findall(README) if language == "json"]

    assert [policy["Version"] for policy in policies] == ["2012-10-17"] * 2
