"""The files of jobs where their backend sees a folder of this machine: all that an executor has to do with them."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Awaitable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from anyio import sleep, to_thread

from covalent_core._model.job import Job, Value
from covalent_core._runner.protocol import FOLDER, NOBODY
from covalent_core.backend.following import Following
from covalent_core.backend.job_folder import JobFolder, make_private, read_end, replace
from covalent_core.backend.patience import growing
from covalent_core.backend.reporting import beside
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
        make_private(self.path)
        folder = self._of(job)
        folder.make()
        replace(folder.bundle, payload)
        return folder.path

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
        return self._of(job, location).has_ended()

    def files(self, job: Job, location: str) -> Mapping[str, int]:
        """Return the files that the runner has left: what follows the ticket in their names, and their sizes."""
        return self._of(job, location).files()

    def find_claim(self, job: Job, location: str) -> str | None:
        """Return who runs the job, in its own words, None if nobody has begun; a cancel may have barred it too."""
        owner = self._of(job, location).owner()
        return None if owner == NOBODY else owner

    def bar(self, job: Job, location: str) -> str | None:
        """See to it that the job never begins, if it has not: return None if so, or who has begun, as `find_claim`.

        A runner that is still to come finds that nobody owns the job, and ends.
        """
        Path(location).mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._of(job, location).bar()

    def release(self, job: Job, location: str | None, *, keep: bool = False) -> None:
        """Bar the job and remove its files.

        Args:
            keep: Only bar it.
        """
        folder = self._of(job, location)

        if not os.path.exists(folder.path):
            return

        try:
            folder.bar()
        except OSError:
            # Nothing can be written to a disk that is full, but what is removed makes room.
            if keep:
                raise

        if not keep:
            folder.remove()

    def say_how_to_end(self, job: Job, location: str) -> None:
        """Say why the job is to be ended, for its tasks to read, and how much time they have.

        Its runner reads that when it gets SIGTERM, each time it does.
        """
        self._of(job, location).say_how_to_end(job.cancel_reason, job.cancel_grace)

    async def cancel_members(self, job: Job, location: str, node_ids: list[int], over: Awaitable[object]) -> Path:
        """End some nodes of a pack; return the results when the runner has done it, or all of the job is over.

        Args:
            over: Comes to its end when the job is over, as ``watch.until_over(job_handle)`` does.
        """
        folder = self._of(job, location)
        folder.order_end(node_ids)
        waiting = asyncio.ensure_future(over)

        try:
            while not waiting.done() and not folder.have_ended(node_ids):
                await sleep(MEMBER_SECONDS)

            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()

        return self.fetch(location)

    def following(self, job: Job, location: str) -> AbstractAsyncContextManager[None]:
        """Report what tasks write, and which nodes of a pack have ended, as long as `run` waits within this."""
        return beside(self._follow(job, location))

    async def _follow(self, job: Job, location: str) -> None:
        prefix = self._of(job, location).prefix

        async def fetch(node_ids: Collection[int]) -> Mapping[str, Value]:
            names = [name for name in self.files(job, location) if name.split(".")[1] in map(str, node_ids)]
            return {f"{job.ticket}{name}": Path(prefix + name) for name in names}

        following = Following(job, lambda name: to_thread.run_sync(read_end, prefix + name), fetch)

        for pause in growing(*LOOK_PAUSES):
            await sleep(pause)

            # A file system that does not answer says nothing about the job.
            with suppress(OSError):
                await following.show(await to_thread.run_sync(self.files, job, location))

    def _of(self, job: Job, location: str | None = None) -> JobFolder:
        return JobFolder(location or self.location(job), job.ticket)


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
