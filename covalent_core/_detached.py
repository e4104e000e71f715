"""Processes that outlive on purpose whoever started them."""

from __future__ import annotations

import subprocess


class DetachedProcess(subprocess.Popen[bytes]):
    """A process in a session of its own, for whose end nobody has to wait."""

    def __del__(self) -> None:
        # Popen's own warns that the process is still running, which here it should be.
        self.poll()
