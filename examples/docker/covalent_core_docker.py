"""Run electrons in Docker containers of this machine."""

import math
import os
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import docker
from anyio import to_thread
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from covalent_core import Job, hookimpl
from covalent_core.backend import Alive, Look, Over, SharedFolder, Watch
from covalent_core.errors import BackendUnreachableError


@dataclass
class DockerExecutor:
    """Give each job a container.

    Attributes:
        image: What containers are made of. It must be there, and have a Python of the client's minor version.
        folder: Where the files of the jobs are.
        grace: Seconds between SIGTERM and SIGKILL when a task is cancelled.
        options: What else Docker's ``containers.create`` takes, ``mem_limit`` or ``volumes`` for example.
    """

    image: str = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    folder: str = "~/.cache/docker-executor"
    grace: float = 5.0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files = SharedFolder(self.folder)
        self._watch = Watch(partial(to_thread.run_sync, look_at), floor=0.05, ceiling=5.0)

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        return self._files.upload(job, payload)

    @hookimpl
    def provision(self, job: Job, location: str) -> str:
        # The same path inside and outside. Without an init, SIGTERM would be lost until the runner is ready for it.
        place = {"mounts": [{"Type": "bind", "Source": location, "Target": location}], "working_dir": location}
        settings = {"name": job.ticket, "labels": [job.ticket], "user": f"{os.getuid()}:{os.getgid()}", "init": True}

        with closing(connect()) as client:
            for unstarted in containers_of(job, client):
                unstarted.remove()

            container = client.containers.create(self.image, "python3 bundle.pyz", **place, **settings, **self.options)
            container.start()
            return str(container.id)

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> str:
        async with self._files.following(job, location):
            return (await self._watch.until_over(job_handle)).state

    @hookimpl
    def fetch(self, location: str) -> Path:
        return self._files.fetch(location)

    @hookimpl
    def cancel(self, job: Job, location: str, job_handle: str) -> Path:
        with closing(connect()) as client, suppress(NotFound):
            # Docker answers when the container has ended, and nothing that began in it outlives it.
            client.containers.get(job_handle).stop(timeout=math.ceil(job.grace + 1))

        return self._files.fetch(location)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> Path:
        return await self._files.cancel_members(job, location, node_ids, self._watch.until_over(job_handle))

    @hookimpl
    def find(self, job: Job, location: str) -> str | None:
        if job.barred:
            self._files.bar(job, location)

        with closing(connect()) as client:
            return next((str(one.id) for one in containers_of(job, client) if one.status != "created"), None)

    @hookimpl
    def release(self, job: Job, location: str | None) -> None:
        self._files.release(job, location)

        with closing(connect()) as client:
            for container in containers_of(job, client):
                container.remove(force=True, v=True)


def connect() -> docker.DockerClient:
    """Return a client of Docker, which has been asked for its version: it answers."""
    try:
        return docker.from_env()
    except DockerException as error:
        raise BackendUnreachableError(f"Docker does not answer: {error}") from error


def containers_of(job: Job, client: docker.DockerClient) -> list[Container]:
    """Return the container of a job if there is one, by its label: a name can be changed."""
    return list(client.containers.list(all=True, filters={"label": job.ticket}))


def look_at(handles: list[str]) -> dict[str, Look]:
    """Return how containers are. One that is not listed is not said to be over."""
    with closing(connect()) as client:
        listed = client.api.containers(all=True, filters={"id": handles})

    return {c["Id"]: Over(c["Status"]) if c["State"] in ("exited", "dead") else Alive(c["State"]) for c in listed}
