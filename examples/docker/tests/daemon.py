"""A Docker daemon of the tests alone: no network, no rules for packets, all files in one folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
from probes import wait_until
from programs import find, leave_out, need

PROJECT = Path(__file__).parents[1]

SETTINGS = {"bridge": "none", "iptables": False, "ip-masq": False, "storage-driver": "vfs"}

IMAGE = "covalent-core-test:latest"

#: What containers see of this machine: its programs and the Python of the tests, which is that of the client.
PROGRAMS = sorted({"/usr", "/lib", "/lib64", "/bin", sys.base_prefix})
PYTHON = Path(sys.base_prefix, "bin")


def need_docker() -> None:
    """Leave out the test that asks where no daemon can be started."""
    need(PROJECT, "dockerd")

    if os.getuid() != 0:
        leave_out("a Docker daemon needs root")


@contextmanager
def docker_daemon(folder: Path) -> Iterator[str]:
    """Give the address of a daemon that has an image; at the end nothing of it lives."""
    address = f"unix://{folder}/socket"
    settings = {"hosts": [address], **SETTINGS}
    settings |= {option: str(folder / option) for option in ("data-root", "exec-root", "pidfile")}
    # Not that of this machine.
    (folder / "daemon.json").write_text(json.dumps(settings))
    command = [str(find("dockerd")), "--config-file", str(folder / "daemon.json")]

    with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        try:
            wait_until(lambda: daemon.poll() is not None or answers(folder / "socket"))
            assert daemon.poll() is None, (folder / "log").read_text()
            import_image(address, folder / "root.tar")
            yield address
        finally:
            daemon.terminate()


def answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b" 200 " in connection.recv(1024)

    return False


def import_image(address: str, archive: Path) -> None:
    """Make an image with nothing in it but a place for temporary files; the rest is mounted."""
    with tarfile.open(archive, "w") as tar:
        place = tarfile.TarInfo("tmp")
        place.type, place.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(place)

    client = docker.APIClient(address)
    repository, _, tag = IMAGE.partition(":")
    client.import_image_from_file(str(archive), repository, tag, changes=[f"ENV PATH={PYTHON}:/usr/bin:/bin"])
    client.close()
