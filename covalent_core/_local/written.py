"""What a task has written while it runs, read through its supervisor: the files may have no names any more."""

from __future__ import annotations

import os
from contextlib import suppress

from covalent_core._runner.processes import children
from covalent_core._runner.protocol import OUTPUT_BYTES
from covalent_core.backend.processes import ProcessHandle


def sizes(guard: ProcessHandle) -> tuple[int, int]:
    """Return how much the task below a guard has written, in bytes; of the one that runs now alone."""
    with suppress(OSError):
        for supervisor in children(guard.pid) if guard.is_alive() else []:
            return os.stat(f"/proc/{supervisor}/fd/1").st_size, os.stat(f"/proc/{supervisor}/fd/2").st_size

    return 0, 0


def read(guard: ProcessHandle) -> tuple[str, str]:
    """Return the end of what the task has written to its standard output and error."""
    for supervisor in children(guard.pid):
        return _end_of(f"/proc/{supervisor}/fd/1"), _end_of(f"/proc/{supervisor}/fd/2")

    return "", ""


def _end_of(path: str) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
        return file.read(OUTPUT_BYTES).decode("utf-8", "replace")
