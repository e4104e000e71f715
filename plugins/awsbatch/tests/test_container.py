"""The start command in a real container engine: process 1 of a container that docker runs and stops.

The engine of AWS is played by the test: it holds the job in its queue, reads what it says of its container, and lets
docker run that. The container has this machine's Python and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()

#: What of this machine a Python needs.
MOUNTED = ("/usr", "/lib", "/lib64", "/bin", "/etc/ssl", str(Path(sys.executable).resolve().parents[1]))


class Docker:
    """A docker daemon of its own, without a network of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = f"unix://{folder}/socket"
        command = ["dockerd", "--host", self._socket, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "--bridge", "none", "--iptables=false", "--storage-driver", "vfs"]
        self._log = open(folder / "log", "w")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        command = ["docker", "--host", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=60, **options)

    def is_up(self) -> bool:
        command = ["docker", "--host", self._socket, "version"]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

        # It leaves the network of the host mounted there, and so a folder that nobody can remove.
        for line in Path("/proc/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(str(self._folder)):
                subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if not (shutil.which("dockerd") and shutil.which("docker")):
        pytest.skip("there is no dockerd here; Debian has it in the package docker.io")

    if os.getuid() != 0:
        pytest.skip("only root can start a dockerd")

    folder = tmp_path_factory.mktemp("docker")
    docker = Docker(folder)

    try:
        try:
            work.wait_until(docker.is_up)
        except AssertionError:
            pytest.skip(f"dockerd does not start here: {(folder / 'log').read_text()[-500:]}")

        tar = subprocess.run(
            ["tar", "-c", "-C", str(folder), "-T", "/dev/null"], capture_output=True, check=True
        ).stdout
        docker("import", "-", "empty", input=tar)
        yield docker
    finally:
        docker.stop()


def start(docker: Docker, aws: Aws, job_id: str, folder: Path) -> str:
    """Run the container of a job as an agent of ECS does; return its id."""
    (job,) = aws.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    (container,) = job["ecsProperties"]["taskProperties"][0]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["environment"]} | {"AWS_BATCH_JOB_ID": job_id}
    # The name of the program is that of this machine, for the image has none.
    command = [sys.executable, *container["command"][1:]]
    arguments = ["run", "--detach", "--network", "host", "--stop-timeout", str(container["stopTimeout"])]
    arguments += [f"--env={name}={value}" for name, value in given.items()]
    arguments += [f"--volume={place}:{place}:ro" for place in MOUNTED if Path(place).exists()]
    arguments += [f"--volume={folder}:{folder}", "--tmpfs", "/tmp", "empty"]
    return docker(*arguments, str(Path(sys.executable).resolve()), *command[1:], text=True).stdout.strip()


@pytest.fixture
def executor(options: dict[str, Any], home: Path) -> AWSBatchExecutor:
    return AWSBatchExecutor(**{name: value for name, value in options.items() if name != "batch_job_role_name"})


def submitted(aws: Aws, executor: AWSBatchExecutor, folder: Path) -> tuple[str, str]:
    """Return a dispatch and the id of its job, which waits in the queue."""
    aws.turn(start_delay=300.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(folder), "all")
    work.wait_until(lambda: work.node(dispatch_id)["job_handle"])
    job_id = work.node(dispatch_id)["job_handle"]
    aws.wait(job_id, statuses=["RUNNABLE"])
    return dispatch_id, job_id


def test_a_container_brings_its_results(docker: Docker, aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    dispatch_id, job_id = submitted(aws, executor, tmp_path)
    container = start(docker, aws, job_id, tmp_path)
    work.until_begun(tmp_path)
    (tmp_path / "go").touch()

    assert work.end(dispatch_id).result == "all"
    assert docker("wait", container, text=True).stdout.strip() == "0"
    aws.client("batch").terminate_job(jobId=job_id, reason="it was never started here")


@pytest.mark.parametrize("road", ["order", "signal"])
def test_a_container_is_ended(docker: Docker, aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, road: str) -> None:
    dispatch_id, job_id = submitted(aws, executor, tmp_path)
    container = start(docker, aws, job_id, tmp_path)
    work.until_begun(tmp_path)

    if road == "signal":
        # Without our order: somebody stops the container, as AWS does.
        docker("stop", container)
        assert docker("wait", container, text=True).stdout.strip() == "0"
        aws.client("batch").terminate_job(jobId=job_id, reason="stopped by hand")
        assert "stopped by hand" in str(work.end(dispatch_id).error)
        return

    ct.cancel(dispatch_id)
    assert work.end(dispatch_id).status == Status.CANCELLED
    assert docker("wait", container, text=True).stdout.strip() == "0"
