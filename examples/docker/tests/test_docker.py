"""The executor passes the suite, with a real Docker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
import pytest
from daemon import IMAGE, PROGRAMS
from docker.errors import NotFound
from docker.models.containers import Container
from probes import wait_until

import covalent_core as ct
from covalent_core import Job
from covalent_core.executor import DockerExecutor
from covalent_core.testing import ExecutorSuite, alive_in_any_namespace


@pytest.fixture(autouse=True)
def daemon(docker_host: str) -> None:
    """Start a daemon."""


class TestDockerExecutor(ExecutorSuite):
    reports_results = True
    reports_output = True

    def executor(self, folder: Path) -> DockerExecutor:
        executor = executor_in(folder)
        executor.options["volumes"].append(f"{folder}/notes:{folder}/notes")
        return executor

    def alive(self, ticket: str, noted: list[str]) -> list[str]:
        return alive_in_any_namespace(ticket, noted)

    def left(self, folder: Path) -> list[str]:
        return [*super().left(folder), *containers_below(folder)]

    @contextmanager
    def rename(self, job_handle: str) -> Iterator[None]:
        with closing(docker.from_env()) as client:
            container = client.containers.get(job_handle)
            name = container.name
            container.rename("another")
            yield

            # A cancel that has found it all the same may have removed it.
            with suppress(NotFound):
                container.rename(name)

    @contextmanager
    def break_status(self, job_handle: str) -> Iterator[None]:
        """Let nobody answer where Docker did."""
        path = Path(os.environ["DOCKER_HOST"].removeprefix("unix://"))
        elsewhere = path.rename(path.with_name("elsewhere"))
        yield
        elsewhere.rename(path)

    @contextmanager
    def fill_disk(self, folder: Path) -> Iterator[None]:
        """Let no file be made where the results belong."""
        (results,) = folder.glob("ct-*/results")
        results.rename(results.with_name("results before"))
        results.touch()
        yield


@pytest.fixture
def client(docker_host: str) -> Iterator[docker.DockerClient]:
    with closing(docker.from_env()) as client:
        yield client


def test_a_container_that_was_killed_from_outside_says_so(
    home: Path, tmp_path: Path, client: docker.DockerClient
) -> None:
    @ct.lattice(executor=executor_in(tmp_path))
    def workflow() -> None:
        ct.electron(time.sleep)(600)

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(0)["job_handle"])
    client.containers.get(ct.get_result(dispatch_id).get_node_result(0)["job_handle"]).kill()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == "FAILED"
    assert "Exited (137)" in result.get_node_result(0)["error"]


def test_a_container_that_was_made_and_not_started_is_made_anew(tmp_path: Path, client: docker.DockerClient) -> None:
    executor, job = executor_in(tmp_path), Job("a dispatch", "ct-1", 0, ())
    location = executor.upload(job, b"print('begun')")
    unstarted = client.containers.create(IMAGE, "true", name=job.ticket, labels=[job.ticket])

    assert executor.find(job, location) is None
    started = client.containers.get(executor.provision(job, location))
    assert started.wait()["StatusCode"] == 0
    assert (started.id, started.logs()) == (executor.find(job, location), b"begun\n")
    assert started.id != unstarted.id
    executor.release(job, location)
    assert (containers_below(tmp_path), os.listdir(tmp_path)) == ([], [])


def executor_in(folder: Path) -> DockerExecutor:
    options = {"volumes": [f"{path}:{path}:ro" for path in PROGRAMS], "network_mode": "none"}
    return DockerExecutor(image=IMAGE, folder=str(folder), grace=0.5, options=options)


def containers_below(folder: Path) -> list[str]:
    """Return the names of the containers that see something of a folder."""
    with closing(docker.from_env()) as client:
        sources = {one.name: str([mount["Source"] for mount in one.attrs["Mounts"]]) for one in all_of(client)}

    return [name for name, seen in sources.items() if str(folder) in seen]


def all_of(client: docker.DockerClient) -> list[Container]:
    # Others remove theirs meanwhile.
    return client.containers.list(all=True, ignore_removed=True)
