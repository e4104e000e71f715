"""A bundle whose supervisor or guard is killed: nothing is left, and whoever waits is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from bundles import TICKET, job_of, outcome_in, results, start
from probes import alive, wait_until

from covalent_core._runner.processes import children


def leaving(folder: str) -> None:
    """Leave what has neither an environment nor a parent, and stay."""
    subprocess.run(["sh", "-c", f"env -i setsid sh -c 'echo $$ > {folder}/pid; exec sleep 600' &"], check=True)
    time.sleep(600)


def stray_of(folder: Path) -> int:
    wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text().endswith("\n"))
    return int((folder / "pid").read_text())


@pytest.mark.parametrize("killed", ["supervisor", "guard"])
def test_whoever_is_killed_the_other_ends_the_job(tmp_path: Path, killed: str) -> None:
    folder = str(tmp_path)
    runner = start(job_of(lambda: leaving(folder), lambda: None), tmp_path)
    stray = stray_of(tmp_path)
    (supervisor,) = children(runner.pid)
    os.kill(supervisor if killed == "supervisor" else runner.pid, signal.SIGKILL)
    ended = results(tmp_path) / f"{TICKET}.ended"
    wait_until(ended.is_symlink)

    assert not alive(stray)
    assert runner.wait(20) == -signal.SIGKILL
    assert os.readlink(ended).startswith(f"{runner.pid}.")
    causes = [outcome_in(tmp_path, node_id)[0]["ended_by"] for node_id in (3, 4)]
    assert causes == (["signal 9"] * 2 if killed == "supervisor" else ["told"] * 2)
    said = "all that it had started was ended" if killed == "supervisor" else "guards its supervisor was killed"
    assert said in outcome_in(tmp_path)[0]["error"]
    wait_until(lambda: not alive(supervisor))
    assert sorted(file.suffix for file in results(tmp_path).iterdir()) == [".ended", ".outcome", ".outcome", ".process"]


def test_a_warning_that_comes_to_the_guard_reaches_the_function(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def wait_for_it() -> None:
        signal.signal(signal.SIGUSR1, lambda signum, frame: open(f"{folder}/warned", "w").close())
        open(f"{folder}/begun", "w").close()

        while not os.path.exists(f"{folder}/warned"):
            time.sleep(0.01)

    runner = start(job_of(wait_for_it), tmp_path)
    wait_until((tmp_path / "begun").exists)
    runner.send_signal(signal.SIGUSR1)
    assert runner.wait(20) == 0
    assert outcome_in(tmp_path)[0]["status"] == "COMPLETED"
