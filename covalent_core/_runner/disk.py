"""What is written to a disk that may be full."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from typing import Any

#: How many seconds a result waits for room on the disk before it is given up.
ROOM_SECONDS = 600.0

#: Seconds between two attempts to write it.
PAUSE = 1.0

FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "no space left (quota)"}

#: The folder of the file is gone: nobody wants what is in it.
GONE = (errno.ENOENT, errno.ENOTDIR)

#: More than an outcome needs that says in the words of `loss` what has become of another.
RESERVE_BYTES = 8192


#: Of fallocate: the file keeps its size, and what is freed reads as zeros.
KEEP_SIZE, PUNCH_HOLE = 1, 2


def free_beginning(file: int, size: int) -> None:
    """Give back the disk that the beginning of a file takes; all else in it stays where it is.

    Where the file system cannot do that, as older network file systems cannot, the file stays as large as it is.
    """
    # An older C library may not have the function under this name.
    with contextlib.suppress(AttributeError):
        length = ctypes.c_int64(size // 4096 * 4096)
        ctypes.CDLL(None).fallocate64(file, KEEP_SIZE | PUNCH_HOLE, ctypes.c_int64(0), length)


def loss(error: OSError, file: str) -> str:
    """Say in words that a result could not be written, and why."""
    words = FULL.get(error.errno or 0) or error.strerror or str(error)
    return f"{words} in {os.path.dirname(file)[-1000:]}; the result is lost"


def write_patiently(file: Any, data: memoryview, path: str) -> None:
    """Write to an unbuffered file; where its disk is full, wait for room.

    Raises:
        OSError: There was none for `ROOM_SECONDS`, or it is something else that fails.
    """
    deadline = time.monotonic() + ROOM_SECONDS

    while data:
        try:
            data = data[file.write(data) :]
        except OSError as error:
            if error.errno not in FULL:
                raise

            if time.monotonic() >= deadline:
                raise OSError(error.errno, loss(error, path)) from None

            time.sleep(PAUSE)


def make_reserve(path: str) -> None:
    """Make a file that takes as much room as an outcome which says that another was lost."""
    with open(path, "wb", buffering=0) as file:
        file.write(b" " * RESERVE_BYTES)


def use_reserve(path: str, record: bytes, target: str) -> None:
    """Let the reserve be a file with this record, under one more name: that needs no room."""
    with open(path, "r+b", buffering=0) as file:
        file.write(record)
        file.truncate()

    try:
        os.link(path, target)
    except OSError:
        # A file system without links, or none is left: there is room for one file at least.
        os.rename(path, target)
