"""The ends of jobs: only their own word counts, or that their host was booted since."""

from __future__ import annotations

import os
from functools import partial
from typing import Optional

from covalent_core.backend.job_folder import JobFolder
from covalent_core.backend.last_words import said_after
from covalent_core.backend.processes import ProcessHandle

#: Seconds in which the processes of a job must have gone that were told to end.
KILL_SECONDS = 10.0


class ElsewhereError(Exception):
    """A job runs where it cannot be seen from here, so nothing is known of it."""


def check_place(process: ProcessHandle) -> None:
    if process.place.is_here() is None:
        raise ElsewhereError


async def has_said_its_end(job: JobFolder, process: ProcessHandle) -> bool:
    """Return when nothing of a job is alive: True if its runner has said so.

    It is False if its host was booted since, or if it has been released.

    Raises:
        ElsewhereError: It runs in another place.
        BackendUnreachableError: It is not known what is alive.
    """
    # Its own word holds wherever it is read.
    if not job.has_ended():
        check_place(process)
        await process.wait()

        if process.place.is_here():
            return await said_after(process, partial(_said, job), KILL_SECONDS)

    return job.has_ended()


def _said(job: JobFolder) -> Optional[bool]:
    if job.has_ended():
        return True

    # Only a job that is known to be over is released, or one that was given up.
    return None if os.path.isdir(job.path) else False
