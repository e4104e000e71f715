"""What an outsider sees of the jobs: their processes, from /proc, whatever the endpoint says."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path


class Processes:
    """The processes of the jobs of one endpoint."""

    def __init__(self, url: str) -> None:
        self._mark = f"AWS_ENDPOINT_URL={url}".encode()

    def by_job(self) -> dict[str, list[int]]:
        """Return the process ids of every job that has any: all that are in the PID namespace of its process 1."""
        namespaces: dict[str, list[int]] = defaultdict(list)
        jobs: dict[str, str] = {}

        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with suppress(OSError):
                namespace = os.readlink(f"/proc/{pid}/ns/pid")

                if namespace != os.readlink("/proc/self/ns/pid"):
                    namespaces[namespace].append(pid)

                    # Process 1 may have thrown its environment away; what started it has not.
                    if (job := self._job_of(pid) or self._job_of(_parent_of(pid))) is not None:
                        jobs[namespace] = job

        return {job: sorted(namespaces[namespace]) for namespace, job in jobs.items()}

    def of(self, job: str) -> list[int]:
        """Return the process ids of this job."""
        return self.by_job().get(job, [])

    def _job_of(self, pid: int) -> str | None:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        name = b"AWS_BATCH_JOB_ID="
        named = (variable.removeprefix(name).decode() for variable in variables if variable.startswith(name))
        return next(named, None) if self._mark in variables else None


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
