"""What is left of a node when it has ended: its outcome, its value, what it has written."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
import zipfile
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .protocol import INLINE_BYTES, MESSAGE_BYTES, OUTPUT_BYTES

Outcome = Tuple[str, Optional[str]]


def version_note(pickled_by: str) -> str:
    """Return what to know of a failure where the function came from another Python: its bytecode may not even run."""
    here = "%d.%d" % sys.version_info[:2]
    return (
        "" if here == pickled_by else f"\n(the function was pickled by Python {pickled_by} and this is Python {here})"
    )


@contextlib.contextmanager
def open_value(value: Any) -> Iterator[Any]:
    """Open a value: bytes, the path of a file, or the name of an entry of the bundle."""
    kind, content = value

    if kind == "bytes":
        from io import BytesIO

        yield BytesIO(content)
    elif kind == "file":
        with open(content, "rb") as file:
            yield file
    else:
        with zipfile.ZipFile(sys.argv[0]) as bundle, bundle.open(content) as file:
            yield file


class Spool:
    """What is written to it, in memory while it is little, else in a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Optional[Any] = None
        self._parts: List[Any] = []
        self._size = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size

        if self._file is None and self._size > INLINE_BYTES:
            self._file = open(self._path, "wb")
            self._file.write(self.take())

        if self._file is None:
            self._parts.append(bytes(data))
        else:
            self._file.write(data)

        return size

    def clear(self) -> None:
        self.take()
        self._size = 0

        if self._file is not None:
            self._file.close()
            self._file = None
            os.unlink(self._path)

    def take(self) -> bytes:
        """Return what is in memory, and close the file if there is one."""
        data, self._parts = b"".join(self._parts), []
        return data

    def close(self) -> bool:
        """Return whether there is a file, complete now."""
        if self._file is not None:
            self._file.close()

        return self._file is not None


def describe(error: BaseException, spec: Dict[str, Any]) -> Outcome:
    from covalent_core.errors import TaskCancelledError

    frames = error.__traceback__

    while frames is not None and os.path.dirname(frames.tb_frame.f_code.co_filename) == os.path.dirname(__file__):
        frames = frames.tb_next

    text = "".join(traceback.format_exception(type(error), error, frames))
    text += version_note(spec["python"])
    return ("CANCELLED", str(error)) if isinstance(error, TaskCancelledError) else ("FAILED", text)


def record_of(outcome: Outcome, started: Optional[float], content: Spool, *, begun: bool = True) -> bytes:
    """Return the outcome of a node, with what it wrote to its standard output and error.

    Args:
        begun: Whether it has begun; what is there now was written by another one otherwise.
    """
    header = {
        "status": outcome[0],
        "error": outcome[1],
        "started": started,
        "ended": time.time(),
        "stdout": take_output(1) if begun else "",
        "stderr": take_output(2) if begun else "",
        "file": content.close(),
    }
    return json.dumps(header).encode() + b"\n" + content.take()


def overruled(record: bytes, status: str, error: str) -> bytes:
    """Return the outcome of a task with another end, because it was to be ended before it ended by itself."""
    header = json.loads(record.partition(b"\n")[0])
    return json.dumps({**header, "status": status, "error": error, "file": False}).encode() + b"\n"


def write_outcome(prefix: str, record: bytes) -> None:
    """Leave the outcome of a node in its file, whole or not at all."""
    with open(prefix + ".outcome.part", "wb") as file:
        file.write(record)

    os.rename(prefix + ".outcome.part", prefix + ".outcome")


def read_outcome(prefix: str) -> bytes:
    with open(prefix + ".outcome", "rb") as file:
        return file.read()


def redirect_output(prefix: str) -> None:
    """Send what this process and its children write to two files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(f"{prefix}.{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(target, number)
        os.close(target)


def take_output(number: int) -> str:
    """Return the end of what has been written to standard output or error, and empty it for the next task."""
    size = os.fstat(number).st_size

    if size == 0:
        return ""

    data = os.pread(number, OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
    os.ftruncate(number, 0)
    return data.decode("utf-8", "replace")


def fit_in_message(prefix: str, record: bytes) -> bytes:
    """Return the record of an outcome, or nothing if it is too large for a message and is now in its file."""
    if len(record) <= MESSAGE_BYTES:
        return record

    write_outcome(prefix, record)
    return b""
