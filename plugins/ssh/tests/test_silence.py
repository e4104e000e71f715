"""Nothing ends a job but a positive word about it: not another host, not noise, not a full disk, not a refusal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import cloudpickle
import far_side
import pytest
from far_side import Line, far_with, options_for
from probes import alive, wait_until
from tasks import count_until_told, dispatch_one, run_one, runs_in

import covalent_core as ct
from covalent_core import Status
from covalent_core._runner.processes import children
from covalent_core_ssh import SSHError, SSHExecutor, _agent_line

cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can make hosts and small disks")

#: What gives a host a name and processes of its own.
INSIDE = "unshare --uts --pid --mount-proc --fork --kill-child"


def named(host):
    return [*INSIDE.split(), "sh", "-c", f'hostname {host}; exec "$@"', "-"]


@contextmanager
def two_login_hosts(folder: Path):
    """Have two hosts with one home, behind a line that leads to the first of them at first."""
    with far_with(folder / "one", {}, named("login1")) as one:
        same = {f"{name} {{folder}}": f"{name} {one.folder}" for name in ("HostKey", "AuthorizedKeysFile")}
        same["HOME={folder}"] = f"HOME={one.folder}"

        with far_with(folder / "two", same, named("login2")) as two:
            line = Line(one.port)

            try:
                yield one, two, line
            finally:
                line.close()


def quick(far, port=None, **more):
    times = {"retry_wait_time": 0.05, "keepalive_interval": 0.5, "connect_timeout": 3.0}
    return SSHExecutor(**{**options_for(far, port or far.port), **times, **more})


def node(dispatch_id):
    return ct.get_result(dispatch_id).get_node_result(0)


def start_on(far, executor, folder):
    """Dispatch a task that goes on until it is told; return when it runs and that is known."""
    dispatch_id = dispatch_one(executor, count_until_told, folder)
    wait_until(lambda: runs_in(folder) and node(dispatch_id)["job_handle"])
    return dispatch_id


@ROOT
@pytest.mark.parametrize("with_cancel", [True, False])
def test_another_host_behind_the_same_name_is_no_answer(home, tmp_path, with_cancel) -> None:
    with two_login_hosts(tmp_path) as (one, two, line):
        dispatch_id = start_on(one, quick(one, line.port), tmp_path)
        line.cut()
        line._target = two.port

        if with_cancel:
            ct.cancel(dispatch_id)

        line.mend()
        words = f"the task runs on login1, and {quick(one, line.port).place} is login2 now; name login1, or wait"
        wait_until(lambda: words in waits_for(dispatch_id))

        assert node(dispatch_id)["status"] == (Status.CANCELLING if with_cancel else Status.RUNNING)
        assert one.runners()

        line.cut()
        line._target = one.port
        line.mend()

        if not with_cancel:
            (tmp_path / "go").touch()

        result = ct.get_result(dispatch_id, wait=True, timeout=60)
        assert result.status == (Status.CANCELLED if with_cancel else Status.COMPLETED), result.error
        assert len(runs_in(tmp_path)) == 1
        assert one.runners() == []


def place_of(pid):
    """Return in which process id namespace of which boot a process is."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{os.readlink(f'/proc/{pid}/ns/pid')[len('pid:[') : -1]}.{boot}"


def waits_for(dispatch_id):
    """Return all that a node says about what it waits for."""
    found = node(dispatch_id)
    return f"{found['waiting']} {found['cancelling']}"


@ROOT
def test_a_job_is_asked_about_where_it_runs_though_the_name_leads_elsewhere_now(tmp_path) -> None:
    async def go(one, two, line):
        async with quick(one, line.port) as executor:
            folder = await executor._agents.first.workdir()
            order = {"ticket": "ct-1-0-0", "folder": f"{folder}/ct-1-0-0", "grace": 0}
            handle = f"400000.1.{'a' * 32}@{place_of(one.processes()[0])}.login1"
            first = await executor._agents.ask_about(handle, "end", **order)
            # As if the name had led there: it has, but over the line of this test.
            executor._agents._addresses["login1"] = ("127.0.0.1", one.port)
            line.cut()
            line._target = two.port
            line.mend()

            while executor._agents.first.host != "login2":
                with suppress(SSHError):
                    await executor._agents.first.ask("beat")

            return first, await executor._agents.ask_about(handle, "end", **order)

    with two_login_hosts(tmp_path) as (one, two, line):
        first, second = asyncio.run(go(one, two, line))

    assert first["complete"] is second["complete"] is False


REBOOTED = 'mount --bind {folder}/boot /proc/sys/kernel/random/boot_id && exec "$@"'


@ROOT
@pytest.mark.skipif(os.readlink("/proc/self/ns/pid") != "pid:[4026531836]", reason="this is a container itself")
@pytest.mark.parametrize("with_cancel", [True, False])
def test_a_host_that_was_booted_since_has_ended_its_tasks(home, tmp_path, with_cancel) -> None:
    inside = ["unshare", "--mount", "sh", "-c", REBOOTED.format(folder=tmp_path), "-"]
    (tmp_path / "boot").write_text(f"{uuid.uuid4()}\n")

    with far_with(tmp_path / "far", {}, inside) as far:
        dispatch_id = start_on(far, quick(far), tmp_path)
        far.stop()
        (tmp_path / "boot").write_text(f"{uuid.uuid4()}\n")

        if with_cancel:
            ct.cancel(dispatch_id)
            assert ct.get_result(dispatch_id).status == Status.CANCELLING

        far.start()
        result = ct.get_result(dispatch_id, wait=True, timeout=60)

        assert result.status == (Status.CANCELLED if with_cancel else Status.FAILED)
        assert with_cancel or "where the task ran, was booted since" in result.error
        assert len(runs_in(tmp_path)) == 1
        wait_until(lambda: far.files() == [])


@pytest.mark.parametrize("noise", ["printf 'Welcome '", "printf '\\033]0;login1\\007'", "echo '{\"workdir\": 1}'"])
def test_what_a_login_script_says_before_the_greeting_is_not_read(tmp_path, home, noise) -> None:
    with far_with(tmp_path / "far", {"SHLVL=2 ": ""}) as far:
        (far.home / ".bashrc").write_text(noise + "\n")
        result = run_one(quick(far), abs, -1)

    assert result.result == 1, result.error


def test_what_a_host_says_instead_of_starting_anything_is_shown(tmp_path, home) -> None:
    away = "Port {port}\nForceCommand echo 'This account is currently not available.'; exit 1"

    with far_with(tmp_path / "far", {"Port {port}": away}) as far:
        error = run_one(quick(far), abs, -1).get_node_result(0)["error"]

    assert error.endswith(": exit status 1: This account is currently not available.")


@pytest.mark.parametrize("name", ["uuid", "token", "socket"])
def test_what_lies_in_the_home_directory_is_not_the_standard_library(tmp_path, home, name) -> None:
    begin = "Port {port}\nForceCommand cd; case $SSH_ORIGINAL_COMMAND in *sftp*) exec %s;; esac; eval exec $X"
    server = next(path for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server") if Path(path).exists())
    begin = (begin % server).replace("eval exec $X", 'exec sh -c "$SSH_ORIGINAL_COMMAND"')

    with far_with(tmp_path / "far", {"Port {port}": begin}) as far:
        (far.home / f"{name}.py").write_text("open(__file__ + '.was-run', 'w').close()\n")
        result = run_one(quick(far), abs, -1)
        was_run = (far.home / f"{name}.py.was-run").exists()

    assert result.result == 1, result.error
    assert not was_run


def leave_one_behind(folder):
    child = subprocess.Popen(["env", "-i", shutil.which("sleep"), "300"], start_new_session=True)
    Path(folder, "part").write_text(str(child.pid))
    Path(folder, "part").rename(Path(folder, "child"))
    signal.pause()


@pytest.mark.parametrize("line_is_cut", [True, False])
def test_a_child_without_environment_is_ended_when_its_runner_was_killed(
    far, line, executor, home, tmp_path, line_is_cut
) -> None:
    dispatch_id = dispatch_one(executor, leave_one_behind, tmp_path)
    wait_until(lambda: (tmp_path / "child").exists() and node(dispatch_id)["job_handle"])
    child = int((tmp_path / "child").read_text())
    runner = int(node(dispatch_id)["job_handle"].split(".")[0])

    if line_is_cut:
        line.cut()
        wait_until(lambda: agent_pids(far) == 0)

    os.kill(runner, signal.SIGKILL)
    ct.cancel(dispatch_id)
    line.mend()
    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    was_alive = alive(child)

    assert result.status in (Status.CANCELLED, Status.FAILED)
    assert not was_alive


@pytest.mark.parametrize("with_cancel", [True, False])
def test_when_all_who_would_know_were_killed_nothing_is_confirmed(far, executor, home, tmp_path, with_cancel) -> None:
    dispatch_id = dispatch_one(executor, leave_one_behind, tmp_path)
    wait_until(lambda: (tmp_path / "child").exists() and node(dispatch_id)["job_handle"])
    child, guard = int((tmp_path / "child").read_text()), int(node(dispatch_id)["job_handle"].split(".")[0])
    supervisor, *_ = children(guard)
    # Neither of them sees that the other one ends.
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)

    try:
        if with_cancel:
            ct.cancel(dispatch_id)

        wait_until(lambda: "whether it has left others is not known" in waits_for(dispatch_id))
        assert node(dispatch_id)["status"] == (Status.CANCELLING if with_cancel else Status.RUNNING)
        assert alive(child)
        ct.cancel(dispatch_id, force=True)
        assert ct.get_result(dispatch_id, wait=True, timeout=60).status == Status.FAILED
    finally:
        os.kill(child, signal.SIGKILL)


def agent_pids(far):
    """Return how many agents and nurseries there are."""
    return len(set(far_side.processes_with("COVALENT_CORE_SUPERVISOR", "0" * 32)) & set(far.processes()))


def print_and_return(folder, size):
    print("this far")
    count_until_told(folder)
    return os.urandom(size)


@ROOT
@pytest.mark.parametrize("with_cancel", [True, False])
def test_a_full_disk_here_is_no_lost_line(far, executor, home, tmp_path, with_cancel) -> None:
    (home / "fetched").mkdir(parents=True)
    home.chmod(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home / "fetched"], check=True)

    try:
        dispatch_id = dispatch_one(executor, print_and_return, tmp_path, 3 * 2**20)
        wait_until(lambda: runs_in(tmp_path))
        (home / "fetched" / "filler").write_bytes(bytes(2**20 - 2**14)) if not with_cancel else fill(home / "fetched")

        if with_cancel:
            ct.cancel(dispatch_id)
        else:
            (tmp_path / "go").touch()

        result = ct.get_result(dispatch_id, wait=True, timeout=60)
    finally:
        subprocess.run(["umount", "-l", home / "fetched"], check=True)

    assert result.status == (Status.CANCELLED if with_cancel else Status.FAILED)
    assert with_cancel or "failed in 'fetch': OSError: [Errno 28]" in result.error
    assert far.runners() == []


def fill(folder):
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_not_let_in_any_more_is_said_and_tried_rarely(tmp_path, home) -> None:
    with far_with(tmp_path / "far", {}) as far:
        line = Line(far.port)
        keys = far.folder / "authorized_keys"

        try:
            dispatch_id = start_on(far, quick(far, line.port), tmp_path)
            keys.rename(far.folder / "away")
            line.cut()
            line.mend()
            wait_until(lambda: "does not let us in" in waits_for(dispatch_id))
            ct.cancel(dispatch_id)
            wait_until(lambda: "does not let us in" in str(node(dispatch_id)["cancelling"]))
            ct.cancel(dispatch_id)
            wait_until(lambda: node(dispatch_id)["cancelling"]["attempts"] > 1)

            assert node(dispatch_id)["status"] == Status.CANCELLING
            assert far.log.read_text().count("Connection closed by authenticating user") == 1
        finally:
            line.close()


def fill_up(folder):
    fill(Path(folder))
    return "there is room again"


@ROOT
def test_a_disk_that_is_full_over_there_when_a_task_ends_costs_no_result(far, options, home) -> None:
    small = far.home / "small"
    small.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", small], check=True)

    try:
        dispatch_id = dispatch_one(SSHExecutor(**options, remote_workdir="small"), fill_up, str(small))
        wait_until(lambda: list(small.glob("*/results/*.outcome.part")))
        assert node(dispatch_id)["status"] == Status.RUNNING
        (small / "filler").unlink()
        result = ct.get_result(dispatch_id, wait=True, timeout=60)
        wait_until(lambda: not list(small.iterdir()))
    finally:
        subprocess.run(["umount", "-l", small], check=True)
        small.rmdir()

    assert result.result == "there is room again", result.error


async def in_executor(options, do):
    async with SSHExecutor(**options) as executor:
        return await do(executor)


def test_an_agent_that_hangs_is_left_and_the_next_one_answers(far, options, monkeypatch) -> None:
    monkeypatch.setattr(_agent_line, "BEAT_SECONDS", 0.1)

    async def hang(executor):
        first = await executor._agents.first.workdir()
        pids = set(far_side.processes_with("COVALENT_CORE_SUPERVISOR", "0" * 32)) & set(far.processes())

        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

        try:
            while True:
                try:
                    return first, await asyncio.wait_for(executor._agents.first.ask("beat"), 10)
                except SSHError:
                    await asyncio.sleep(0.05)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    folder, answer = asyncio.run(in_executor(options, hang))

    assert (folder, answer) == (str(far.home / "covalent-workdir"), {})


@pytest.mark.parametrize(("mode", "words"), [(0o775, "can be written by other users (mode 775)"), (0o1777, "")])
def test_a_folder_that_others_may_write_is_refused(far, options, home, mode, words) -> None:
    folder = far.home / "shared"
    folder.mkdir()
    folder.chmod(mode)
    result = run_one(SSHExecutor(**options, remote_workdir="shared"), abs, -1)
    shutil.rmtree(folder)

    assert result.status == (Status.FAILED if words else Status.COMPLETED), result.error
    assert words in (result.error or "")
    assert not words or result.error.endswith(f"take that from them with: chmod go-w {folder}")


@ROOT
def test_a_folder_of_another_user_is_refused(far, options, home) -> None:
    folder = far.home / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    result = run_one(SSHExecutor(**options, remote_workdir="theirs"), abs, -1)
    folder.rmdir()

    assert f"{folder} belongs to the user 65534, not to this one; name another folder" in result.error


def test_what_is_made_is_for_this_user_alone(far, options, home) -> None:
    def modes():
        return [oct(os.stat(folder).st_mode & 0o777) for folder in (".", "..")]

    umask = "umask 002"
    result = run_one(SSHExecutor(**options, remote_workdir="new/one", prerun_commands=[umask]), modes)
    shutil.rmtree(far.home / "new")

    assert result.result == ["0o700", "0o700"], result.error


def test_options_of_other_engines_are_explained() -> None:
    with pytest.raises(ct.errors.ExecutorOptionError, match="here it is called 'remote_workdir'"):
        SSHExecutor("host", remote_cache="x")

    with pytest.raises(ct.errors.ExecutorOptionError, match="run_local_on_ssh_fail has no place here: a host that"):
        SSHExecutor("host", run_local_on_ssh_fail=True)

    with pytest.warns(UserWarning, match="poll_freq has no effect: nothing is polled"):
        SSHExecutor("host", poll_freq=5)
