"""What a task writes to its standard output and error."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import sys
from typing import Tuple

from .disk import free_beginning
from .protocol import OUTPUT_BYTES, OUTPUT_BYTES_ON_DISK


class Output:
    """Two files that this process and its children write to.

    They are read through descriptors of our own: what a function makes of the numbers 1 and 2 is its own affair.

    Args:
        prefix: The beginning of the names of the files.
    """

    def __init__(self, prefix: str) -> None:
        self._files = [out_of_the_way(open_output(f"{prefix}.{name}")) for name in ("stdout", "stderr")]
        self.connect()

    def connect(self) -> None:
        """Let descriptors 1 and 2, and what Python prints to, be these files."""
        for number, file in enumerate(self._files, 1):
            os.dup2(file, number)

        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)

    def take(self) -> Tuple[str, str]:
        """Return the end of what has been written to each, and empty them for the next task."""
        for stream in (sys.stdout, sys.stderr):
            # They may be of the function's own making.
            with contextlib.suppress(BaseException):
                stream.flush()

        stdout, stderr = map(take_from, self._files)
        return stdout, stderr

    def trim(self) -> None:
        """Give back the disk that holds what will not be kept: a task that prints without end does not fill it."""
        for file in self._files:
            found = os.fstat(file)

            if found.st_blocks * 512 > OUTPUT_BYTES_ON_DISK:
                free_beginning(file, found.st_size - OUTPUT_BYTES_ON_DISK // 2)


def open_output(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)


def out_of_the_way(descriptor: int) -> int:
    """Give a descriptor a number that a function which closes "all" descriptors is unlikely to reach."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest = 512 if limit == resource.RLIM_INFINITY or limit > 1000 else 3
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(descriptor)
    return moved


def take_from(file: int) -> str:
    try:
        size = os.fstat(file).st_size

        if size == 0:
            return ""

        data = os.pread(file, OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
        os.ftruncate(file, 0)
    except OSError as error:
        return f"(what was written cannot be read: {error})"

    return data.decode("utf-8", "replace")
