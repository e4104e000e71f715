"""The ready probe finds what lives in a PID namespace, by the numbers that it has there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from probes import wait_until

from covalent_core.testing import alive_in_any_namespace

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *(["--map-root-user"] * (os.getuid() != 0))]


@pytest.fixture
def noted(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no PID namespace")

    note = tmp_path / "note"
    script = "read -r line < /proc/$$/stat; set -- $line; echo $$.${22} > part; mv part note; exec sleep 60"
    process = subprocess.Popen([*UNSHARE, "sh", "-c", script], cwd=tmp_path)
    wait_until(note.exists)
    yield process, note.read_text().strip()
    process.kill()
    process.wait()


def test_a_process_is_known_by_its_number_in_its_namespace(noted: tuple[subprocess.Popen[bytes], str]) -> None:
    process, note = noted

    assert note.startswith("1.")
    assert alive_in_any_namespace("ct-none", [note, "1.7", "99999999.1"]) == [note]
    process.kill()
    wait_until(lambda: not alive_in_any_namespace("ct-none", [note]))


def test_a_process_of_another_job_is_not_taken_for_one_with_the_same_numbers(
    tmp_path: Path, noted: tuple[subprocess.Popen[bytes], str]
) -> None:
    _, note = noted
    other, ours = f"ct-{'0' * 32}-0-0", f"ct-{'1' * 32}-0-0"
    # A runner says so by its directory alone: what it puts into its environment is not seen from outside.
    tmp_path.rename(tmp_path.with_name(other))

    assert alive_in_any_namespace(ours, [note]) == []
    assert note in alive_in_any_namespace(other, [note])
    tmp_path.with_name(other).rename(tmp_path)


def test_a_process_is_known_by_the_ticket_in_its_environment() -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "JOB": "ct-in-the-environment"}) as process:
        wait_until(lambda: alive_in_any_namespace("ct-in-the-environment", []))
        assert [line.split(".")[0] for line in alive_in_any_namespace("ct-in-the-environment", [])] == [
            str(process.pid)
        ]
        process.kill()
