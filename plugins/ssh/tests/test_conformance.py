"""The suite that every executor must pass, over a real sshd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from far_side import FarSide, options_for

from covalent_core.testing import ExecutorSuite
from covalent_core_ssh import SSHExecutor


class TestSSHExecutor(ExecutorSuite):
    """The far side is this machine, so the probes of the suite see what is there."""

    reports_results = True
    reports_output = True
    tells_how_to_end = True

    @pytest.fixture(autouse=True)
    def reach(self, sshd: FarSide) -> None:
        self.options = options_for(sshd, sshd.port)

    def executor(self, folder: Path, **options: Any) -> Any:
        self.broken = folder / "broken"
        before = f"! test -e {self.broken} || {{ echo 'Transport endpoint is not connected' >&2; exit 3; }}"
        options = {**self.options, "remote_workdir": str(folder / "far"), "grace": 0.5, **options}
        return SSHExecutor(**options, retry_wait_time=0.05, prerun_commands=[before])

    @contextmanager
    def break_status(self, job_handle: str) -> Iterator[None]:
        """What comes before Python over there fails, as a module system on a broken file system does."""
        self.broken.touch()
        yield
        self.broken.unlink()

    def keeping_executor(self, folder: Path) -> Any:
        return self.executor(folder, do_cleanup=False)

    def reused_handle(self, old: str, new: str) -> str:
        """The number of the new process, with all else that tells it from the old one."""
        return ".".join([new.split(".")[0], *old.split(".")[1:]])
