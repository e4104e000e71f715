"""The files of jobs, in which all truth is."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from typing import Any, Dict

from .processes import Process, RefusalError

#: What stands in the place of a job handle when a job must not start any more.
NOBODY = "nobody"

#: How much is shown of what a task that runs has written: its end, in bytes.
OUTPUT_BYTES = 16 * 1024

Answer = Dict[str, Any]


def make_workdir(workdir: str) -> str:
    """Make the folder for all jobs, for this user alone, and return where it is."""
    path = os.path.abspath(os.path.join(os.path.expanduser("~"), os.path.expandvars(os.path.expanduser(workdir))))
    missing = [path]

    while not os.path.exists(missing[-1]):
        missing.append(os.path.dirname(missing[-1]))

    for folder in reversed(missing[:-1]):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)

    check_private(path)

    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied", path)

    return path


def make_folder(path: str) -> None:
    """Make the folder of a job, unless an order whose answer was lost has."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.path.islink(path):
            raise RefusalError(f"{path} is a symbolic link, which nobody here has made") from None

        check_private(path)


def check_private(folder: str) -> None:
    """Refuse a folder in which others could change what runs there."""
    found = os.stat(folder)

    if found.st_uid != os.getuid():
        raise RefusalError(f"{folder} belongs to the user {found.st_uid}, not to this one; name another folder")

    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise RefusalError(
            f"{folder} can be written by other users (mode {stat.S_IMODE(found.st_mode):o}), who could change what "
            f"runs there; take that from them with: chmod go-w {folder}"
        )


def bar(results: str) -> None:
    """See to it that nobody begins a job who has not begun; where its folder has gone there is nothing to begin."""
    # Who opens a folder of a network file system sees what others have written there since.
    os.close(os.open(os.path.dirname(os.path.dirname(os.path.dirname(results))), os.O_RDONLY))

    with suppress(FileExistsError, FileNotFoundError):
        os.mkdir(os.path.dirname(results), 0o700)

    with suppress(FileExistsError, FileNotFoundError):
        os.symlink(NOBODY, results + ".process")


def has_ended(results: str) -> bool:
    return os.path.lexists(results + ".ended")


def read_handle(results: str) -> str | None:
    """Return the handle of who has begun a job, `NOBODY` if it is barred, None if nobody has."""
    try:
        return os.readlink(results + ".process")
    except FileNotFoundError:
        return None


def read_members(results: str) -> list[int]:
    """Return the nodes that are to be ended already."""
    with suppress(FileNotFoundError), open(results + ".cancel") as file:
        found: list[int] = json.load(file)
        return found

    return []


def read_log(folder: str) -> str:
    with suppress(OSError), open(os.path.join(folder, "runner.log"), errors="replace") as file:
        return file.read()[-2000:].strip() or "it said nothing"

    return "it left no log"


class Followed:
    """A job that runs, and what has been told of it."""

    def __init__(self, results: str, process: Process, node_ids: list[int]) -> None:
        self._results = results
        self._process = process
        self._node_ids = node_ids
        self._ended: set[int] = set()
        self._sizes = [0, 0]

    def news(self) -> Answer:
        """Return which nodes have ended, and what the one that runs has written, as far as that is new."""
        files = set(os.listdir(os.path.dirname(self._results)))
        name = os.path.basename(self._results)
        ended = {node_id for node_id in self._node_ids if f"{name}.{node_id}.outcome" in files} - self._ended
        self._ended |= ended
        found: Answer = {"ended": sorted(ended)} if ended else {}
        running = [node_id for node_id in self._node_ids if node_id not in self._ended]
        # Through the supervisor below the guard: it has named its files, and may have another task by now.
        outputs = [f"/proc/{pid}/fd/{number}" for pid in children(self._process.pid)[:1] for number in (1, 2)]

        if running and outputs and self._process.is_alive():
            sizes = [os.stat(output).st_size for output in outputs]

            if sizes != self._sizes:
                self._sizes = sizes
                found["output"] = [running[0], *map(read_end, outputs)]

        return found


def read_end(path: str) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
        return file.read(OUTPUT_BYTES).decode("utf-8", "replace")


def children(pid: int) -> list[int]:
    with suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
        return [int(child) for child in file.read().split()]

    return []
