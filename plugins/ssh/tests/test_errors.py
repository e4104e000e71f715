"""What can be wrong with a host gives one error that says what was found, and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tasks import run_one

from covalent_core import Status
from covalent_core_ssh import SSHExecutor


def error_of(executor, *arguments):
    """Return the error of a task that cannot start, without the beginning that names the task."""
    result = run_one(executor, len, *(arguments or ([],)))
    node = result.get_node_result(0)
    beginning = f"task 0 of dispatch {result.dispatch_id} failed in 'upload': "

    assert node["status"] == Status.FAILED
    assert node["error"].startswith(beginning), node["error"]
    return node["error"].removeprefix(beginning)


def test_wrong_key(far, options) -> None:
    key, port, user = far.wrong_key, options["port"], options["username"]

    assert error_of(SSHExecutor(**{**options, "ssh_key_file": str(key)})) == (
        f"SSHDeniedError: {user}@127.0.0.1:{port} does not let us in with ssh_key_file '{key}': "
        f"Permission denied for user {user} on host 127.0.0.1; "
        f"see whether this works: ssh -i {key} -p {port} {user}@127.0.0.1 true"
    )


def test_missing_key(far, options) -> None:
    assert error_of(SSHExecutor(**{**options, "ssh_key_file": f"{far.folder}/none"})) == (
        f"SSHRefusedError: ssh_key_file '{far.folder}/none' cannot be used: there is no file {far.folder}/none"
    )


def test_locked_key(far, options) -> None:
    key = far.folder / "locked_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)

    assert error_of(SSHExecutor(**{**options, "ssh_key_file": str(key)})) == (
        f"SSHRefusedError: ssh_key_file '{key}' cannot be used: Passphrase must be specified to import encrypted "
        f"private keys; give it to the SSH agent with ssh-add"
    )


def test_unknown_host(options) -> None:
    options = {**options, "hostname": "nowhere.invalid", "port": None, "max_connection_attempts": 2}

    error = error_of(SSHExecutor(**options))

    assert error.startswith("SSHUnreachableError: there is no host 'nowhere.invalid': ")
    assert error.endswith("; check hostname (attempt 2)")


def test_nobody_listens(line, options) -> None:
    line.close_port()
    error = error_of(SSHExecutor(**{**options, "retry_connect": False}))

    assert error.startswith(f"SSHUnreachableError: cannot reach {options['username']}@127.0.0.1:{line.port}: ")
    assert error.endswith("(attempt 1)")


def test_nobody_answers(line, options) -> None:
    line.freeze()

    assert error_of(SSHExecutor(**{**options, "connect_timeout": 0.2, "max_connection_attempts": 2})) == (
        f"SSHUnreachableError: {options['username']}@127.0.0.1:{line.port} gave no answer within 0.2 s (attempt 2)"
    )


@pytest.mark.parametrize("accept_unknown_host", [False, True])
def test_changed_host_key(far, options, accept_unknown_host) -> None:
    kind, key = Path(f"{far.wrong_key}.pub").read_text().split()[:2]
    far.known_hosts.write_text(f"[127.0.0.1]:{options['port']} {kind} {key}\n")

    assert error_of(SSHExecutor(**options, accept_unknown_host=accept_unknown_host)) == host_key_error(far, options)


def test_unknown_host_key(far, options) -> None:
    far.known_hosts.write_text("")

    assert error_of(SSHExecutor(**options)) == host_key_error(far, options)


def host_key_error(far, options):
    return (
        f"SSHDeniedError: the host key of {options['username']}@127.0.0.1:{options['port']} is not the one in "
        f"{far.known_hosts}, or not there at all (Host key is not trusted for host 127.0.0.1); compare it with what "
        f"the administrator says and add it with ssh-keyscan, or set accept_unknown_host=True to trust a host that "
        f"is seen for the first time"
    )


def test_an_unknown_host_is_accepted_if_asked_for_and_known_from_then_on(far, options) -> None:
    far.known_hosts.unlink()
    accepted = run_one(SSHExecutor(**options, accept_unknown_host=True), len, [])
    known = run_one(SSHExecutor(**options), len, [])

    assert (accepted.result, known.result) == (0, 0)
    assert far.known_hosts.read_text().split()[1:2] == (far.folder / "host_key.pub").read_text().split()[:1]
    assert far.known_hosts.read_text().startswith(f"[127.0.0.1]:{options['port']} ")


def test_no_python(options) -> None:
    error = error_of(SSHExecutor(**options, python_path="/opt/none/python"))
    place = f"{options['username']}@127.0.0.1:{options['port']}"

    # In the middle stand the words of the shell, in its language.
    assert error.startswith(f"SSHRefusedError: there is no '/opt/none/python' on {place} (env: ")
    assert error.endswith("No such file or directory); set python_path to a Python >= 3.8")


def test_python_too_old(far, options) -> None:
    python = far.home / "python3.6"
    # It is asked for its version as an old interpreter would be: by the program that it is given.
    python.write_text("#!/bin/sh\nprintf 3.6.15 >&2\nexit 86\n")
    python.chmod(0o755)

    assert error_of(SSHExecutor(**options, python_path="~/python3.6")) == (
        f"SSHRefusedError: '~/python3.6' on {options['username']}@127.0.0.1:{options['port']} is Python 3.6.15; "
        f"3.8 or newer is needed; set python_path to one"
    )
    python.unlink()


def test_a_command_before_it_fails(options) -> None:
    assert error_of(SSHExecutor(**options, prerun_commands=["echo no such module >&2; false"])) == (
        f"SSHRefusedError: 'python3' could not be started on {options['username']}@127.0.0.1:{options['port']}: "
        f"exit status 1: no such module"
    )


def test_no_write_permission(options) -> None:
    # Not even root may write there.
    assert error_of(SSHExecutor(**options, remote_workdir="/sys/covalent")) == (
        f"SSHRefusedError: remote_workdir cannot be used on {options['username']}@127.0.0.1:{options['port']}: "
        f"{'Operation not permitted' if os.getuid() == 0 else 'Permission denied'}: /sys/covalent"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_full_disk(far, options) -> None:
    folder = far.home / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)

    try:
        error = error_of(SSHExecutor(**options, remote_workdir="small"), os.urandom(3 * 2**20))
        left = os.listdir(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        shutil.rmtree(folder)

    begin, free, needed = error.rpartition("disk, ")[0], *[word for word in error.split() if word.isdecimal()]
    assert begin.startswith(f"SSHRefusedError: cannot write {folder}/ct-")
    assert begin.endswith(
        f"-0-0/bundle.pyz on {options['username']}@127.0.0.1:{options['port']}: no space left on the "
    )
    assert error.endswith(f"disk, {free} bytes free of {needed} needed")
    assert int(free) < int(needed)
    assert left == []
