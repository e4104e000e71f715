"""The files of jobs where their backend sees a folder of this machine: all that an executor has to do with them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from anyio import sleep, to_thread

from covalent_core._model.job import Job, Value
from covalent_core._runner.protocol import CANCEL, ENDED, FOLDER, OUTCOME, OUTPUT_BYTES, PROCESS
from covalent_core.backend.claim import NOBODY, Claim
from covalent_core.backend.output import Output
from covalent_core.backend.patience import growing
from covalent_core.errors import ExecutorError

#: Seconds between looks at the files of a job that runs, at first and at last.
LOOK_PAUSES = (0.05, 1.0)

#: Seconds between looks at whether the nodes of a pack have ended that were told to.
MEMBER_SECONDS = 0.01


class SharedFolder:
    """A folder of this machine in which each job has a folder of its own, which is its location.

    The methods that are no coroutines take the time of a few file operations; where the folder is on a network, call
    them from hooks that are a plain ``def``. Whatever the file system raises passes out of all of them.

    Args:
        path: The folder; relative to the home directory, ``~`` and ``$NAME`` are known. It is made when it is needed.

    Raises:
        ExecutorError: A variable in `path` is not set.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        expanded = os.path.expanduser(os.path.expandvars(path))

        if "$" in expanded:
            raise ExecutorError(f"the folder {os.fspath(path)!r} cannot be used: a variable in it is not set")

        self.path = Path.home() / expanded

    def upload(self, job: Job, payload: bytes | memoryview) -> str:
        """Put a bundle into a folder that is its job's alone, readable by this user alone, and return where that is.

        Raises:
            ExecutorError: Other users could change what is there.
        """
        _make_private(self.path)
        folder = Path(self.location(job))
        folder.mkdir(mode=0o700, exist_ok=True)

        if folder.is_symlink():
            raise ExecutorError(f"{folder} is a link; the folder of a job is none, somebody has put it there")

        _check_private(folder)
        _replace(folder / "bundle.pyz", payload)
        return str(folder)

    def values_folder(self, job: Job) -> str:
        """Return where `put_values` puts values, to be set as ``job.values_folder`` in `pickle`."""
        return f"{self.location(job)}/values"

    def put_values(self, job: Job) -> None:
        """Put the values that are files beside the bundle, after `upload`: linked, or copied from another disk."""
        folder = Path(self.values_folder(job))
        folder.mkdir(mode=0o700, exist_ok=True)

        for name, file in job.value_files.items():
            _put(file, folder / name)

    def location(self, job: Job) -> str:
        """Return the folder of a job, whether it is there or not."""
        return str(self.path / job.ticket)

    def fetch(self, location: str) -> Path:
        """Return the folder with the result files."""
        return Path(location, FOLDER)

    def has_ended(self, job: Job, location: str) -> bool:
        """Return whether the runner says that all nodes have ended and nothing is alive; False means nothing at all."""
        return ENDED in self.files(job, location)

    def files(self, job: Job, location: str) -> Mapping[str, int]:
        """Return the files that the runner has left: what follows the ticket in their names, and their sizes."""
        found: dict[str, int] = {}

        # To open a folder is what makes NFS look whether it is still as it was.
        with suppress(FileNotFoundError), os.scandir(Path(location, FOLDER)) as entries:
            for entry in entries:
                if entry.name.startswith(f"{job.ticket}."):
                    with suppress(FileNotFoundError):
                        found[entry.name[len(job.ticket) :]] = entry.stat(follow_symlinks=False).st_size

        return found

    def find_claim(self, job: Job, location: str) -> str | None:
        """Return who runs the job, in its own words, None if nobody has begun; a cancel may have barred it too."""
        try:
            owner = os.readlink(self._path(job, location, PROCESS))
        except FileNotFoundError:
            return None

        return None if owner == NOBODY else owner

    def bar(self, job: Job, location: str) -> str | None:
        """See to it that the job never begins, if it has not: return None if so, or who has begun, as `find_claim`.

        A runner that is still to come finds that nobody owns the job, and ends.
        """
        Path(location, FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Claim.by_link(self._path(job, location, PROCESS)).bar()

    def release(self, job: Job, location: str | None, *, keep: bool = False) -> None:
        """Bar the job and remove its files.

        Args:
            keep: Only bar it.
        """
        folder = Path(location or self.location(job))

        if not folder.exists():
            return

        self.bar(job, str(folder))

        if not keep:
            gone = folder.with_name(f"{folder.name}.gone")
            # In one step, so that nothing that comes late finds half of it.
            folder.rename(gone)
            shutil.rmtree(gone)

    async def cancel_members(self, job: Job, location: str, node_ids: list[int], over: Awaitable[object]) -> Path:
        """End some nodes of a pack; return the results when the runner has done it, or all of the job is over.

        Args:
            over: Comes to its end when the job is over, as ``watch.until_over(job_handle)`` does.
        """
        # The runner may not have begun: it finds the order then.
        self.fetch(location).mkdir(mode=0o700, exist_ok=True)
        ordered = {*node_ids, *self._ordered(job, location)}
        _replace(self._path(job, location, CANCEL), json.dumps(sorted(ordered)).encode())
        waiting = asyncio.ensure_future(over)

        try:
            while not waiting.done() and not self._have_ended(job, location, node_ids):
                await sleep(MEMBER_SECONDS)

            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()

        return self.fetch(location)

    @asynccontextmanager
    async def following(self, job: Job, location: str) -> AsyncIterator[None]:
        """Report what tasks write, and which nodes of a pack have ended, as long as `run` waits within this."""
        task = asyncio.create_task(self._follow(job, location))

        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

        if not task.cancelled():
            task.result()

    async def _follow(self, job: Job, location: str) -> None:
        output, reported = Output(job), set[int]()

        for pause in growing(*LOOK_PAUSES):
            await sleep(pause)

            # A file system that does not answer says nothing about the job.
            with suppress(OSError):
                files = await to_thread.run_sync(self.files, job, location)
                self._report_ended(job, location, files, reported)
                await output.show(files, lambda name: to_thread.run_sync(_read_end, self._path(job, location, name)))

    def _report_ended(self, job: Job, location: str, files: Mapping[str, int], reported: set[int]) -> None:
        if len(job.tasks) > 1:
            ended = {node_id for node_id in job.node_ids if f".{node_id}{OUTCOME}" in files} - reported
            names = [name for name in files if any(name.startswith(f".{node_id}.") for node_id in ended)]
            found: dict[str, Value] = {f"{job.ticket}{name}": self._path(job, location, name) for name in names}
            reported |= ended

            if found:
                job.report_results(found)

    def _ordered(self, job: Job, location: str) -> list[int]:
        """Return the nodes that were to be ended before."""
        with suppress(FileNotFoundError):
            ordered: list[int] = json.loads(self._path(job, location, CANCEL).read_bytes())
            return ordered

        return []

    def _have_ended(self, job: Job, location: str, node_ids: list[int]) -> bool:
        files = self.files(job, location)
        return ENDED in files or all(f".{node_id}{OUTCOME}" in files for node_id in node_ids)

    def _path(self, job: Job, location: str, ending: str) -> Path:
        return Path(location, FOLDER, f"{job.ticket}{ending}")


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for this user alone.

    Raises:
        ExecutorError: It is there, and others could change what is in it.
    """
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)

    _check_private(folder)


def _check_private(folder: Path) -> None:
    found = folder.stat()

    if found.st_uid != os.getuid():
        raise ExecutorError(f"{folder} belongs to the user {found.st_uid}, not to this one; name another folder")

    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise ExecutorError(
            f"{folder} can be written by other users (mode {stat.S_IMODE(found.st_mode):o}), who could change what "
            f"runs there; take that from them with: chmod go-w {folder}"
        )


def _put(file: Path, target: Path) -> None:
    """Link a file, or copy it where it cannot be linked; what is there already is there as a whole."""
    try:
        os.link(file, target)
    except FileExistsError:
        return
    except OSError:
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        shutil.copyfile(file, part)
        part.rename(target)


def _replace(path: Path, content: bytes | memoryview) -> None:
    """Write a file, readable by this user alone, whole or not at all."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")

    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)

        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _read_end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
        return file.read(OUTPUT_BYTES)
