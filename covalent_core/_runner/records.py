"""What is left of a node when it has ended: its outcome, its value, what it has written."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .disk import write_patiently
from .protocol import INLINE_BYTES, MESSAGE_BYTES

#: How much of the end of an error there is always room for.
KEPT_OF_ERROR = 8000


class Outcome(NamedTuple):
    """How a node ended, in the words of `protocol`."""

    status: str
    error: Optional[str] = None
    ended_by: Optional[str] = None


def version_note(pickled_by: str) -> str:
    """Return what to know of a failure where the function came from another Python: its bytecode may not even run."""
    here = "%d.%d" % sys.version_info[:2]
    return "" if here == pickled_by else f"the function was pickled by Python {pickled_by} and this is Python {here}"


def pickler_note(error: BaseException) -> str:
    """Return what to know of a function that asks for parts of cloudpickle that the one in the bundle does not have."""
    import cloudpickle

    if not isinstance(error, (AttributeError, ImportError)) or "cloudpickle" not in str(error):
        return ""

    return (
        "the function was pickled by a newer cloudpickle than %s, which the dispatcher has sent along; "
        "upgrade it where the dispatcher runs, or use the older one where you dispatch" % cloudpickle.__version__
    )


def noted(error: str, pickled_by: str) -> str:
    """Return an error with the versions of Python below it, if they differ."""
    note = version_note(pickled_by)
    return f"{error}\n({note})" if note else error


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
        import zipfile

        with zipfile.ZipFile(sys.argv[0]) as bundle, bundle.open(content) as file:
            yield file


class Spool:
    """What is written to it, in memory while it is little, else in a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Optional[Any] = None
        self._parts: List[bytes] = []
        self._size = 0

    @property
    def has_file(self) -> bool:
        return self._file is not None

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size

        if self._file is None and self._size > INLINE_BYTES:
            self._file = open(self._path, "wb", buffering=0)
            write_patiently(self._file, memoryview(self.take()), self._path)

        if self._file is None:
            self._parts.append(bytes(data))
        elif size:
            write_patiently(self._file, memoryview(data).cast("B"), self._path)

        return size

    def clear(self) -> None:
        """Forget what was written; never raises."""
        self.take()
        self._size = 0

        # What is left of a file is not named by any outcome.
        with contextlib.suppress(OSError):
            self.close()

        if self._file is not None:
            self._file = None

            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def take(self) -> bytes:
        """Return what is in memory."""
        data, self._parts = b"".join(self._parts), []
        return data

    def close(self) -> None:
        """Complete the file, if there is one."""
        if self._file is not None:
            self._file.close()


def describe(error: BaseException, spec: Dict[str, Any], *, opened: bool) -> Outcome:
    """Say how a function ended that has raised, or that could not even be opened."""
    from covalent_core.errors import TaskCancelledError

    try:
        if isinstance(error, TaskCancelledError):
            return Outcome("CANCELLED", str(error))

        text, pickler = traceback_of(error), pickler_note(error)
    except BaseException as another:
        text, pickler = f"{type(error).__name__}, which cannot be shown: that raises {type(another).__name__}", ""

    python = version_note(spec["python"])

    if not opened and (pickler or python):
        note = pickler or f"{python}, which could not open it"
        return Outcome("FAILED", f"{note}:\n{text}")

    return Outcome("FAILED", noted(text, spec["python"]))


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error without the frames of the runner."""
    frames = error.__traceback__

    # Not `__file__`: a compiled module keeps the name of its source.
    here = os.path.dirname(traceback_of.__code__.co_filename)

    while frames is not None and os.path.dirname(frames.tb_frame.f_code.co_filename) == here:
        frames = frames.tb_next

    return "".join(traceback.format_exception(type(error), error, frames))


def record_of(
    outcome: Outcome,
    output: Tuple[str, str] = ("", ""),
    *,
    started: Optional[float] = None,
    content: bytes = b"",
    has_file: bool = False,
) -> bytes:
    """Return the outcome of a node as it travels.

    Args:
        output: What it has written to its standard output and error.
        content: Its pickled value or exception, if that is not in a file.
    """
    header = {
        "status": outcome.status,
        "ended_by": outcome.ended_by,
        "error": outcome.error,
        "started": started,
        "ended": time.time(),
        "stdout": output[0],
        "stderr": output[1],
        "file": has_file,
    }
    return json.dumps(header).encode() + b"\n" + content


def overruled(record: bytes, outcome: Outcome) -> bytes:
    """Return the record of a task with another end, because it was to be ended before it ended by itself."""
    header = json.loads(record.partition(b"\n")[0])
    return json.dumps({**header, **outcome._asdict(), "file": False}).encode() + b"\n"


def attributed(record: bytes, cause: Optional[str]) -> bytes:
    """Return the record of a task that was told to end; one that has completed all the same did so by itself."""
    header, _, content = record.partition(b"\n")
    found = json.loads(header)

    if found["status"] == "COMPLETED":
        return record

    return json.dumps({**found, "ended_by": cause}).encode() + b"\n" + content


def write_outcome(prefix: str, record: bytes) -> None:
    """Leave the outcome of a node in its file, whole or not at all."""
    with open(prefix + ".outcome.part", "wb") as file:
        file.write(record)

    os.rename(prefix + ".outcome.part", prefix + ".outcome")


def read_outcome(prefix: str) -> bytes:
    with open(prefix + ".outcome", "rb") as file:
        return file.read()


def fit_in_message(prefix: str, record: bytes) -> bytes:
    """Return the record of an outcome, or nothing if it is too large for a message and is now in its file."""
    if len(record) <= MESSAGE_BYTES:
        return record

    try:
        write_outcome(prefix, record)
    except OSError as error:
        return shortened(record, error)

    return b""


def shortened(record: bytes, error: OSError) -> bytes:
    """Return a record without what makes it too large for a message: its value is not."""
    header, _, content = record.partition(b"\n")
    found = json.loads(header)
    lost = f"(what was written is lost: {error})"
    text = found["error"] and found["error"][-KEPT_OF_ERROR:]
    return json.dumps({**found, "error": text, "stdout": lost, "stderr": lost}).encode() + b"\n" + content
