"""The files of one job, where they can be seen: what its runner and those who wait for it or end it leave each other.

Runs on far sides too.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from covalent_core._runner.protocol import CANCEL, ENDED, FOLDER, NOBODY, ORDER, OUTCOME, OUTPUT_BYTES, PROCESS
from covalent_core.errors import ExecutorError


class JobFolder:
    """The folder of a job.

    Args:
        path: Where it is, or will be.

    Attributes:
        bundle: The file that the job consists of.
        prefix: The beginning of the names of all files that its runner leaves.
    """

    def __init__(self, path: str | os.PathLike[str], ticket: str) -> None:
        self.path = os.fspath(path)
        self.bundle = os.path.join(self.path, "bundle.pyz")
        self.prefix = os.path.join(self.path, FOLDER, ticket)
        self._results, self._ticket = os.path.split(self.prefix)

    def make(self) -> None:
        """Make it, readable by this user alone.

        Raises:
            ExecutorError: Other users could change what is there.
        """
        with suppress(FileExistsError):
            os.mkdir(self.path, 0o700)

        if os.path.islink(self.path):
            raise ExecutorError(f"{self.path} is a link; the folder of a job is none, somebody has put it there")

        check_private(self.path)

    def files(self) -> Mapping[str, int]:
        """Return the files that the runner has left: what follows the ticket in their names, and their sizes."""
        found: dict[str, int] = {}

        # To open a folder is what makes NFS look whether it is still as it was.
        with suppress(FileNotFoundError), os.scandir(self._results) as entries:
            for entry in entries:
                if entry.name.startswith(f"{self._ticket}."):
                    with suppress(FileNotFoundError):
                        found[entry.name[len(self._ticket) :]] = entry.stat(follow_symlinks=False).st_size

        return found

    def has_ended(self) -> bool:
        """Return whether the runner says that all nodes have ended and nothing is alive; False means nothing at all."""
        return ENDED in self.files()

    def have_ended(self, node_ids: Iterable[int]) -> bool:
        """Return whether some nodes have ended, or all of the job has."""
        files = self.files()
        return ENDED in files or all(f".{node_id}{OUTCOME}" in files for node_id in node_ids)

    def owner(self) -> str | None:
        """Return who runs the job, in its own words, `NOBODY` if it is barred, None if nobody has begun."""
        try:
            return os.readlink(self.prefix + PROCESS)
        except FileNotFoundError:
            return None

    def bar(self) -> str | None:
        """See to it that the job never begins, if it has not: return None if so, or who has begun.

        Where there is no folder there is nothing to begin, and nothing is made.
        """
        # This one has to be there, and is seen as it is now.
        os.close(os.open(os.path.dirname(self.path), os.O_RDONLY))

        with suppress(FileExistsError, FileNotFoundError):
            os.mkdir(self._results, 0o700)

        with suppress(FileExistsError, FileNotFoundError):
            os.symlink(NOBODY, self.prefix + PROCESS)

        owner = self.owner()
        return None if owner == NOBODY else owner

    def order_end(self, node_ids: Collection[int]) -> None:
        """Order the end of some nodes of a pack, besides those whose end has been ordered before."""
        # The runner may not have begun: it finds the order then.
        os.makedirs(self._results, 0o700, exist_ok=True)
        replace(self.prefix + CANCEL, json.dumps(sorted({*node_ids, *self._ordered()})).encode())

    def say_how_to_end(self, reason: str, grace: float) -> None:
        """Say why the job is to be ended, for its tasks to read, and how much time they have.

        Its runner reads that when it is told to end, also when it is told again.

        Args:
            grace: Seconds; its own grace period where that is shorter.
        """
        replace(self.prefix + ORDER, json.dumps({"reason": reason, "grace": grace}).encode())

    def remove(self) -> None:
        """Remove it."""
        gone = f"{self.path}.gone"

        # In one step, so that nothing that comes late finds half of it.
        with suppress(FileNotFoundError):
            os.rename(self.path, gone)

        with suppress(FileNotFoundError):
            shutil.rmtree(gone)

    def _ordered(self) -> list[int]:
        with suppress(FileNotFoundError), open(self.prefix + CANCEL) as file:
            ordered: list[int] = json.load(file)
            return ordered

        return []


def make_private(folder: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it that are not there, for this user alone.

    Raises:
        ExecutorError: It is there, and others could change what is in it.
    """
    missing = [os.path.abspath(folder)]

    while not os.path.exists(missing[-1]):
        missing.append(os.path.dirname(missing[-1]))

    for place in reversed(missing[:-1]):
        with suppress(FileExistsError):
            os.mkdir(place, 0o700)

    check_private(folder)


def check_private(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder in which others could change what runs there.

    Raises:
        ExecutorError: They could.
    """
    found, name = os.stat(folder), os.fspath(folder)

    if found.st_uid != os.getuid():
        raise ExecutorError(f"{name} belongs to the user {found.st_uid}, not to this one; name another folder")

    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise ExecutorError(
            f"{name} can be written by other users (mode {stat.S_IMODE(found.st_mode):o}), who could change what "
            f"runs there; take that from them with: chmod go-w {name}"
        )


def replace(path: str, content: bytes | memoryview) -> None:
    """Write a file, readable by this user alone, whole or not at all."""
    part = f"{path}.{uuid.uuid4().hex}"

    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)

        os.rename(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def read_end(path: str) -> bytes:
    """Return the end of a file, as much of it as is shown of an output."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
        return file.read(OUTPUT_BYTES)
