"""What Slurm does not say, says strangely, or says late: nothing is concluded from it, and no job is nobody's."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster import Cluster
from commands import SlurmCommands
from far_side import FarSide, far_with, options_for
from probes import Stops, alive, kill_dispatcher, wait_until
from tasks import tasks
from test_ends import begun, dispatch, end, handle

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor, SlurmUnreachableError
from covalent_core_slurm._folders import Folders
from covalent_core_slurm._login_node import Finished, LoginNode
from covalent_core_ssh import SSHHost

TASKS = tasks()


@pytest.fixture
def options(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "poll_freq": 0.5}


def waiting(dispatch_id: str) -> str:
    """Return what the only node says that it waits for."""
    return ct.get_result(dispatch_id).get_node_result(0)["waiting"] or ""


def status(dispatch_id: str) -> Any:
    return ct.get_result(dispatch_id).get_node_result(0)["status"]


def check_it_is_ended(dispatch_id: str, cluster: Cluster, folder: Path) -> None:
    """Cancel what runs; when it is CANCELLED, nothing of it may be there."""
    assert ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    assert not any(map(alive, begun(folder)))
    assert cluster.living(folder) == {}


def looks(commands: SlurmCommands, count: int) -> None:
    """Return when the queue was looked at so many times more."""
    before = commands.count("squeue")
    wait_until(lambda: commands.count("squeue") >= before + count)


# --- whose job it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["goes on", "is cancelled"])
def test_a_job_that_was_renamed_is_ours(cluster, commands, options, tmp_path, then) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options), retries=1)
    wait_until(lambda: begun(tmp_path))
    cluster.run("scontrol", "update", f"JobId={handle(dispatch_id)}", "JobName=mine")

    if then == "is cancelled":
        check_it_is_ended(dispatch_id, cluster, tmp_path)
    else:
        looks(commands, 4)
        (tmp_path / "go").touch()
        assert end(dispatch_id).result == "0"

    assert len(begun(tmp_path)) == 1


SURROUNDINGS = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_ARRAY_INX": "5-7",
    "SBATCH_PARTITION": "spare",
    "SQUEUE_PARTITION": "spare",
    "SQUEUE_NAMES": "another",
    "SCANCEL_STATE": "PENDING",
    "SLURM_CLUSTERS": "another",
    "SLURM_NTASKS": "7",
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_is_set_for_commands_of_slurm_is_not_meant_for_ours(
    cluster, home, options, tmp_path, monkeypatch, name
) -> None:
    monkeypatch.setenv(name, SURROUNDINGS[name])
    del options["slurm_path"]
    executor = SlurmExecutor(**options)
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=executor)
    wait_until(lambda: begun(tmp_path))
    monkeypatch.delenv(name)
    partition = cluster.run("squeue", "-h", "-j", handle(dispatch_id), "-o", "%P %j").split()
    check_it_is_ended(dispatch_id, cluster, tmp_path)

    assert partition[0] == "main"
    assert partition[1].startswith("ct-")
    assert len(begun(tmp_path)) == 1


@pytest.mark.parametrize("then", ["goes on", "is cancelled"])
def test_a_job_that_squeue_does_not_list_is_asked_for_by_its_id(cluster, commands, options, tmp_path, then) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options), retries=1)
    wait_until(lambda: begun(tmp_path) and handle(dispatch_id))
    commands.replace("squeue", "exit 0")
    looks(commands, 3)
    assert status(dispatch_id) == Status.RUNNING

    if then == "is cancelled":
        check_it_is_ended(dispatch_id, cluster, tmp_path)
    else:
        (tmp_path / "go").touch()
        assert end(dispatch_id).result == "0"

    assert len(begun(tmp_path)) == 1


def test_the_word_that_there_is_no_such_job_ends_it(cluster, commands, options, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options, options={"begin": "now+1hour"}))
    handle(dispatch_id)
    commands.forget_all()
    result = end(dispatch_id)

    assert "Slurm no longer knows job" in str(result.error)
    cluster.run("scancel", handle(dispatch_id))


# --- what sbatch answers -----------------------------------------------------------------------------------------

ANSWERS = {
    "in words": 'set -- $({program} "$@" | tr -d "\\n"); echo "Submitted batch job $1 on cluster x9"',
    "with its cluster": 'echo "$({program} "$@");x9"',
    "after a number": 'echo "no account given, taking 7"; {program} "$@"',
    "two numbers": '{program} "$@"; echo 4200000',
    "without a number": '{program} "$@" >/dev/null; echo done',
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_of_sbatch_in_another_form(cluster, commands, options, tmp_path, answer) -> None:
    commands.replace("sbatch", ANSWERS[answer])
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: begun(tmp_path))
    ((job_id, _),) = cluster.jobs(tmp_path).items()

    assert handle(dispatch_id) == job_id
    check_it_is_ended(dispatch_id, cluster, tmp_path)


@pytest.mark.parametrize("cleanup", [True, False])
def test_an_sbatch_that_comes_late_starts_nothing(cluster, commands, options, tmp_path, cleanup) -> None:
    commands.hold_submissions(tmp_path / "let")
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options, cleanup=cleanup))
    wait_until(lambda: commands.count("sbatch") == 1)
    kill_dispatcher(tmp_path / "store")
    assert ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    assert cluster.jobs(tmp_path) == {}
    (tmp_path / "let").touch()
    wait_until(lambda: cluster.jobs(tmp_path))
    wait_until(lambda: cluster.living(tmp_path) == {})

    assert commands.count("sbatch") == 1
    assert begun(tmp_path) == []


def test_an_order_that_is_under_way_while_its_dispatcher_dies_is_carried_out_once(
    cluster, commands, options, stops: Stops, home, tmp_path
) -> None:
    commands.hold_submissions(tmp_path / "let")
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: commands.count("sbatch") == 1)
    kill_dispatcher(home)
    ct.get_result(dispatch_id)
    before = len(stops.calls())
    wait_until(lambda: any(call.hook == "find" for call in stops.calls()[before:]))
    assert cluster.jobs(tmp_path) == {}
    (tmp_path / "let").touch()
    (tmp_path / "go").touch()

    assert end(dispatch_id).status == Status.COMPLETED
    assert commands.count("sbatch") == 1
    assert len(cluster.jobs(tmp_path)) == 1


def test_a_limit_of_jobs_in_the_queue_is_waited_out(cluster, commands, options, tmp_path) -> None:
    full = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    commands.replace("sbatch", f'[ -e {tmp_path}/room ] || {{{{ echo "{full}" >&2; exit 1; }}}}\nexec {{program}} "$@"')
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: full in waiting(dispatch_id))
    assert status(dispatch_id) == Status.DISPATCHING
    assert ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    assert begun(tmp_path) == []


# --- looks that fail ---------------------------------------------------------------------------------------------

FAILURES = {
    "munge": 'echo "slurm_load_jobs error: Protocol authentication error" >&2; exit 1',
    "version": 'echo "slurm_load_jobs error: Incompatible versions of client and server code" >&2; exit 1',
    "library": 'echo "squeue: error while loading shared libraries: libslurm.so.38: cannot open" >&2; exit 127',
    "unknown": 'echo "all your jobs are belong to us" >&2; exit 3',
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_look_that_fails_ends_nothing(cluster, commands, options, tmp_path, failure) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: begun(tmp_path) and handle(dispatch_id))

    for command in ("squeue", "scontrol", "sacct"):
        commands.replace(command, FAILURES[failure])

    wait_until(lambda: FAILURES[failure].split('"')[1] in waiting(dispatch_id))
    looks(commands, 2)
    assert status(dispatch_id) == Status.RUNNING
    (tmp_path / "go").touch()

    assert end(dispatch_id).result == "0"
    assert len(begun(tmp_path)) == 1


def test_a_folder_that_cannot_be_seen_ends_nothing(cluster, options, tmp_path) -> None:
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: begun(tmp_path) and handle(dispatch_id))
    (results,) = (tmp_path / "far").glob("ct-*/results")
    aside = results.rename(results.with_name("aside"))
    # As NFS says ESTALE for a while.
    results.touch()
    wait_until(lambda: "cannot look into" in waiting(dispatch_id))
    assert status(dispatch_id) == Status.RUNNING
    results.unlink()
    aside.rename(results)
    (tmp_path / "go").touch()

    assert end(dispatch_id).result == "0"


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_results_that_are_seen_late_are_waited_for(cluster, commands, options, tmp_path, state) -> None:
    # It runs in a copy of its folder, so what it leaves is not seen in the folder itself.
    away = f"cp -r . {tmp_path}/away && cd {tmp_path}/away"
    after = ["exit 3"] if state == "FAILED" else []
    options |= {"settle_seconds": 30, "prerun_commands": [away], "postrun_commands": after}
    (tmp_path / "go").touch()
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options))
    wait_until(lambda: [found for _, found in cluster.jobs(tmp_path).values()] == [state])
    (folder,) = (tmp_path / "far").glob("ct-*")
    wait_until(lambda: commands.count("scontrol"))
    # Who did not wait would have said by now that nothing is there.
    time.sleep(1)
    assert status(dispatch_id) == Status.RUNNING
    shutil.copytree(tmp_path / "away" / "results", folder / "results", symlinks=True, dirs_exist_ok=True)

    assert end(dispatch_id).result == "0"
    assert len(begun(tmp_path)) == 1


# --- other users ------------------------------------------------------------------------------------------------


def test_nobody_else_may_write_where_jobs_are(tmp_path) -> None:
    before = os.umask(0o002)

    try:
        folders = Folders(LoginNode())
        asyncio.run(folders.workdir(str(tmp_path / "above" / "far")))
        asyncio.run(folders.make(str(tmp_path / "above" / "far" / "ct-a-1-0")))
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "above").rglob("*")} == {0o700}
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o700


def test_what_a_task_writes_is_as_readable_as_ever(cluster, options, tmp_path) -> None:
    (tmp_path / "go").touch()
    end(dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options)))
    (tmp_path / "as-ever").touch()

    assert {path.stat().st_mode for path in tmp_path.glob("begun-*")} == {(tmp_path / "as-ever").stat().st_mode}


@pytest.mark.parametrize(
    ("mode", "owner", "words"),
    [
        (0o775, 0, "can be written by other users, who could change what runs there"),
        (0o757, 0, "chmod go-w"),
        (0o700, 65534, "belongs to another user; name another folder"),
    ],
)
@pytest.mark.skipif(os.getuid() != 0, reason="root alone can give a folder away")
def test_a_folder_where_others_may_write_is_refused(cluster, home, options, tmp_path, mode, owner, words) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far").chmod(mode)
    os.chown(tmp_path / "far", owner, 0)
    result = end(dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options)))

    assert result.status == Status.FAILED
    assert words in str(result.error)
    assert begun(tmp_path) == []


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can be another user")
def test_the_output_of_an_array_is_not_written_where_another_user_says(
    cluster, commands, options, tmp_path, monkeypatch
) -> None:
    # Others may make files there, but not change those of this user.
    (tmp_path / "far").mkdir()
    (tmp_path / "far").chmod(0o1777)
    (tmp_path / "precious").write_text("precious")

    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)

    # The other user is asked between the upload and sbatch, when the names can be known.
    link = f'setpriv --reuid=65534 --clear-groups ln -s {tmp_path}/precious "$output" 2>/dev/null'
    steps = 'for o in "$@"; do case $o in --output=*) output=${{o#--output=}};; esac; done'
    place = 'output=$(echo "$output" | sed "s/%a/0/")'
    commands.replace("sbatch", f'{steps}\n{place}\n{link}\nexec {{program}} "$@"')

    @ct.lattice(executor=SlurmExecutor(**options))
    def workflow() -> Any:
        return [ct.electron(TASKS.work)(str(tmp_path), str(number)) for number in range(2)]

    (tmp_path / "go").touch()
    assert end(ct.dispatch(workflow)()).result == ["0", "1"]
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can be another user")
def test_a_folder_that_somebody_else_has_made_for_a_job_is_refused(tmp_path) -> None:
    (tmp_path / "ct-a-1-0").mkdir()
    os.chown(tmp_path / "ct-a-1-0", 65534, 0)
    (tmp_path / "ct-a-2-0").symlink_to(tmp_path)

    for name in ("ct-a-1-0", "ct-a-2-0"):
        with pytest.raises(ct.errors.ExecutorError, match="is not ours"):
            asyncio.run(Folders(LoginNode()).make(str(tmp_path / name)))


# --- what stands before an answer -------------------------------------------------------------------------------


START_FILE = r"""
export SQUEUE_PARTITION=spare SLURM_CLUSTERS=x9
printf '\033]0;login1\007id ct 123 '
printf 'Welcome ' >&2
"""


def test_what_start_files_of_a_login_node_print_and_set_is_not_meant_for_us(tmp_path) -> None:
    async def run(far: FarSide) -> Finished:
        options = options_for(far, far.port)
        login_node = LoginNode(SSHHost(str(options.pop("hostname")), **options))

        try:
            return await login_node.run(
                "cat; env | grep -E '^SQUEUE_|^SLURM_CLUSTERS'; echo error >&2; exit 3", b"answer\n"
            )
        finally:
            await login_node.close()

    # Without it bash takes itself for one that is started by hand.
    with far_with(tmp_path / "far", {"SHLVL=2 ": ""}) as far:
        (far.home / ".bashrc").write_text(START_FILE)
        assert asyncio.run(run(far)) == Finished(3, b"answer\n", b"error\n")


#: What users and sites set for the commands of Slurm.
MEANT_FOR_OTHERS = """
SBATCH_JOB_NAME SBATCH_ARRAY_INX SBATCH_PARTITION SBATCH_MEM_PER_NODE SBATCH_TIMELIMIT SBATCH_WAIT SQUEUE_PARTITION
SQUEUE_NAMES SQUEUE_ACCOUNT SQUEUE_QOS SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_SORT SQUEUE_STATES SCANCEL_NAME
SCANCEL_PARTITION SCANCEL_STATE SCANCEL_INTERACTIVE SACCT_FORMAT SLURM_CLUSTERS SLURM_NTASKS SLURM_ARRAY_TASK_ID
SLURM_MEM_PER_CPU
""".split()


def test_only_what_says_where_the_cluster_is_reaches_the_commands(monkeypatch) -> None:
    for name in (*MEANT_FOR_OTHERS, "SLURM_CONF"):
        monkeypatch.setenv(name, "7")

    finished = asyncio.run(LoginNode().run("env"))
    reached = {line.partition("=")[0] for line in finished.stdout.decode().splitlines()}

    assert reached & {*MEANT_FOR_OTHERS, "SLURM_CONF"} == {"SLURM_CONF"}


def test_a_login_shell_that_does_not_run_a_command_has_given_no_answer() -> None:
    login_node = LoginNode()
    login_node._shell = SimpleNamespace(run=lambda *_: asyncio.sleep(0, (0, b"", b"Unmatched '.")))

    with pytest.raises(SlurmUnreachableError, match="Unmatched"):
        asyncio.run(login_node.run("squeue"))
