"""A host is reached as SSH itself would reach it: by its configuration, its agent, over other hosts."""

from __future__ import annotations

import asyncio
import os
import subprocess
from getpass import getuser
from pathlib import Path

import pytest
from tasks import run_one

from covalent_core_ssh import SSHConnection, SSHExecutor, SSHHost, SSHRefusedError, _agent_line

CONFIG = """
Host cluster
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
    UserKnownHostsFile {known_hosts}

Host compute
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
    UserKnownHostsFile {known_hosts}
    ProxyJump cluster
"""


@pytest.fixture
def configuration(shared_home: Path, far, line):
    """Describe the host in ~/.ssh/config and nowhere else."""
    far.trust(line.port)
    folder = shared_home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "config"
    file.write_text(CONFIG.format(port=line.port, user=getuser(), key=far.key, known_hosts=far.known_hosts))
    yield file
    file.unlink()


def test_an_alias_of_the_configuration_is_enough(configuration) -> None:
    result = run_one(SSHExecutor("cluster"), abs, -1)

    assert result.result == 1, result.error


def test_a_host_behind_another_is_reached(configuration, line) -> None:
    result = run_one(SSHExecutor("compute"), abs, -1)

    assert result.result == 1, result.error
    assert line.connections == 2


def test_keys_of_the_agent_are_used(far, options, home, monkeypatch) -> None:
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    socket, pid = (agent.split(f"{name}=")[1].split(";")[0] for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"))
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)

    try:
        subprocess.run(["ssh-add", "-q", far.key], check=True)
        result = run_one(SSHExecutor(**{**options, "ssh_key_file": None}), abs, -1)
    finally:
        os.kill(int(pid), 15)

    assert result.result == 1, result.error


def test_a_certificate_lets_a_key_in(far, options, tmp_path) -> None:
    public = tmp_path / "signed.pub"
    public.write_text(Path(f"{far.wrong_key}.pub").read_text())
    sign = ["ssh-keygen", "-q", "-s", far.authority, "-I", "test", "-n", getuser(), "-V", "+1h", public]
    subprocess.run(sign, check=True)
    signed = {**options, "ssh_key_file": str(far.wrong_key), "cert_file": str(tmp_path / "signed-cert.pub")}
    result = run_one(SSHExecutor(**signed), abs, -1)

    assert result.result == 1, result.error


async def use(options, command):
    connection = SSHConnection(SSHHost(**options))

    try:
        return await connection.run(command, b"through the line")
    finally:
        await connection.close()


def test_the_connection_by_itself_runs_commands(options) -> None:
    assert asyncio.run(use(options, "cat; echo aside >&2; exit 3")) == (3, b"through the line", b"aside\n")


def test_a_login_script_that_waits_for_ever_is_not_waited_for(options, monkeypatch) -> None:
    monkeypatch.setattr(_agent_line, "START_SECONDS", 0.5)

    async def start():
        async with SSHExecutor(**options, prerun_commands=["sleep 5"]) as executor:
            await executor._agents.first.workdir()

    with pytest.raises(SSHRefusedError, match=r"has not started on .* within 0\.5 s; does a login script"):
        asyncio.run(start())


def test_a_command_that_reads_where_nothing_is_to_be_read_comes_to_its_end(far, options) -> None:
    async def run():
        connection = SSHConnection(SSHHost(**options))

        try:
            return [await asyncio.wait_for(connection.run("cat", content), 10) for content in (None, b"", b"x")]
        finally:
            await connection.close()

    assert [finished.stdout for finished in asyncio.run(run())] == [b"", b"", b"x"]
