"""What Slurm's commands answer, as versions from 17.11 to 24.05 print it, and what their states mean.

The outputs whose names end with ``_22_05`` were printed by that version, with its accounting; the others are written
after the formats that its documentation and its source give.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from covalent_core.backend import Alive
from covalent_core_slurm._answers import (
    JobRecord,
    belongs,
    ids_of,
    is_anothers,
    is_full,
    is_no_such_job,
    is_uncertain,
    is_unsent,
    key_of,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from covalent_core_slurm._cancels import compact
from covalent_core_slurm._files import LOOK, look_here, parse_look
from covalent_core_slurm._states import RESTARTED, TABLE, exit_status, explain, look_of

SQUEUE = """\
Last login: Mon | from | here | today
12345|RUNNING|None|ct-4f2a-3-0
12346|PENDING|(Nodes required for job are DOWN, DRAINED or reserved)|ct-4f2a-4-0
12347_7|COMPLETING|None|ct-array
12347_[8-10%2]|PENDING|JobArrayTaskLimit|ct-array
12348+1|RUNNING|None|het
12349|OUT_OF_MEMORY|OutOfMemory|a | b
12350|CANCELLED|None|RUNNING
"""


def test_squeue() -> None:
    assert parse_squeue(SQUEUE) == [
        JobRecord("12345", "RUNNING", "ct-4f2a-3-0", "None"),
        JobRecord("12346", "PENDING", "ct-4f2a-4-0", "(Nodes required for job are DOWN, DRAINED or reserved)"),
        JobRecord("12347_7", "COMPLETING", "ct-array", "None"),
        JobRecord("12347_[8-10%2]", "PENDING", "ct-array", "JobArrayTaskLimit"),
        JobRecord("12348+1", "RUNNING", "het", "None"),
        JobRecord("12349", "OUT_OF_MEMORY", "a | b", "OutOfMemory"),
        JobRecord("12350", "CANCELLED", "RUNNING", "None"),
    ]


SACCT = """\
12345|COMPLETED|0:0|ct-4f2a-3-0
12345.batch|COMPLETED|0:0|batch
12345.extern|COMPLETED|0:0|extern
12346|CANCELLED by 1000|0:15|ct-4f2a-4-0
12347_7|NODE_FAIL|1:0|ct-array
12348|CANCELLED+|0:0|old
12349|OUT_OF_MEMORY|0:125|a|b
"""


def test_sacct() -> None:
    assert parse_sacct(SACCT) == [
        JobRecord("12345", "COMPLETED", "ct-4f2a-3-0", "", "0:0"),
        JobRecord("12346", "CANCELLED", "ct-4f2a-4-0", "", "0:15"),
        JobRecord("12347_7", "NODE_FAIL", "ct-array", "", "1:0"),
        JobRecord("12348", "CANCELLED", "old", "", "0:0"),
        JobRecord("12349", "OUT_OF_MEMORY", "a|b", "", "0:125"),
    ]


#: Of ``sacct -n -P``; of the second array elements 5 and 9 were cancelled alone while they waited, and are forgotten.
SACCT_22_05 = """\
2|COMPLETED|0:0|ct-4f2a-1-0
2.batch|COMPLETED|0:0|batch
3|FAILED|3:0|ct-4f2a-2-0
4|OUT_OF_MEMORY|0:125|ct-4f2a-3-0
4.batch|OUT_OF_MEMORY|0:125|batch
5|CANCELLED by 0|0:0|ct-4f2a-4-0
5.batch|CANCELLED|0:15|batch
10|COMPLETED|0:0|a|b
11|TIMEOUT|0:0|ct-4f2a-9-0
12|NODE_FAIL|0:0|ct-4f2a-10-0
7_2|CANCELLED by 0|0:0|ct-4f2a-6-0-array
7_7|FAILED|3:0|ct-4f2a-6-0-array
7_8|FAILED|0:9|ct-4f2a-6-0-array
7_9|RUNNING|0:0|ct-4f2a-6-0-array
8_[0-4,6-8,10-199]|CANCELLED by 0|0:0|ct-4f2a-7-0-array
9_[0-198:3]|CANCELLED by 0|0:0|ct-4f2a-8-0-array
"""


def test_sacct_of_a_real_accounting() -> None:
    assert parse_sacct(SACCT_22_05) == [
        JobRecord("2", "COMPLETED", "ct-4f2a-1-0", "", "0:0"),
        JobRecord("3", "FAILED", "ct-4f2a-2-0", "", "3:0"),
        JobRecord("4", "OUT_OF_MEMORY", "ct-4f2a-3-0", "", "0:125"),
        JobRecord("5", "CANCELLED", "ct-4f2a-4-0", "", "0:0"),
        JobRecord("10", "COMPLETED", "a|b", "", "0:0"),
        JobRecord("11", "TIMEOUT", "ct-4f2a-9-0", "", "0:0"),
        JobRecord("12", "NODE_FAIL", "ct-4f2a-10-0", "", "0:0"),
        JobRecord("7_2", "CANCELLED", "ct-4f2a-6-0-array", "", "0:0"),
        JobRecord("7_7", "FAILED", "ct-4f2a-6-0-array", "", "3:0"),
        JobRecord("7_8", "FAILED", "ct-4f2a-6-0-array", "", "0:9"),
        JobRecord("7_9", "RUNNING", "ct-4f2a-6-0-array", "", "0:0"),
        JobRecord("8_[0-4,6-8,10-199]", "CANCELLED", "ct-4f2a-7-0-array", "", "0:0"),
        JobRecord("9_[0-198:3]", "CANCELLED", "ct-4f2a-8-0-array", "", "0:0"),
    ]


#: The same jobs, each shortened in the middle.
SCONTROL_22_05 = """\
JobId=4 JobName=ct-4f2a-3-0 UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901756 Nice=0 Account=root \
QOS=normal JobState=OUT_OF_MEMORY Reason=OutOfMemory Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 \
ExitCode=0:125 RunTime=00:00:01 TimeLimit=UNLIMITED TimeMin=N/A NodeList=n30518x1 CPUs/Task=1
JobId=10 JobName=a|b UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901750 Nice=0 Account=root QOS=normal \
JobState=COMPLETED Reason=None Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:0
JobId=20 ArrayJobId=7 ArrayTaskId=7 JobName=ct-4f2a-6-0-array UserId=root(0) GroupId=root(0) MCS_label=N/A \
QOS=normal JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 ExitCode=3:0
JobId=8 ArrayJobId=8 ArrayTaskId=0-4,6-8,10-199 JobName=ct-4f2a-7-0-array UserId=root(0) GroupId=root(0) \
QOS=normal JobState=CANCELLED Reason=BeginTime Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 ExitCode=0:0
"""


def test_scontrol_of_a_real_controller() -> None:
    found = parse_scontrol(SCONTROL_22_05)

    assert found[0].nodes == "n30518x1"
    assert [record._replace(nodes=None) for record in found] == [
        JobRecord("4", "OUT_OF_MEMORY", "ct-4f2a-3-0", "OutOfMemory", "0:125"),
        JobRecord("10", "COMPLETED", "a|b", "None", "0:0"),
        JobRecord("7_7", "FAILED", "ct-4f2a-6-0-array", "NonZeroExitCode", "3:0"),
        JobRecord("8_[0-4,6-8,10-199]", "CANCELLED", "ct-4f2a-7-0-array", "BeginTime", "0:0"),
    ]


#: 17.11, 22.05 and 23.11 (which has SLUID-less extra fields after TRES), shortened in the middle.
SCONTROL = """\
JobId=12 JobName=ct-4f2a-3-0 UserId=me(1000) GroupId=me(1000) MCS_label=N/A Priority=4294901758 Nice=0 Account=(null) \
QOS=(null) JobState=TIMEOUT Reason=TimeLimit Dependency=(null) Requeue=0 Restarts=0 BatchFlag=1 Reboot=0 ExitCode=0:15 \
RunTime=00:01:23 TimeLimit=00:01:00 TimeMin=N/A Command=(null) WorkDir=/home/me Power=
JobId=15 ArrayJobId=13 ArrayTaskId=2 JobName=ct array UserId=me(1000) GroupId=me(1000) JobState=FAILED \
Reason=NonZeroExitCode Dependency=(null) Requeue=0 ExitCode=3:0
JobId=16 ArrayJobId=13 ArrayTaskId=3-9%2 JobName=ct array UserId=me(1000) JobState=PENDING Reason=Resources ExitCode=0:0
JobId=17 JobName=x JobState=RUNNING UserId=y UserId=me(1000) JobState=COMPLETED Reason=None Comment=JobState=FAILED \
ExitCode=0:0 TRES=cpu=1,mem=1M,node=1,billing=1 ReqTRES=cpu=1 Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
"""


def test_scontrol() -> None:
    assert parse_scontrol(SCONTROL) == [
        JobRecord("12", "TIMEOUT", "ct-4f2a-3-0", "TimeLimit", "0:15"),
        JobRecord("13_2", "FAILED", "ct array", "NonZeroExitCode", "3:0"),
        JobRecord("13_[3-9%2]", "PENDING", "ct array", "Resources", "0:0"),
        JobRecord("17", "COMPLETED", "x JobState=RUNNING UserId=y", "None", "0:0"),
    ]


@pytest.mark.parametrize(
    ("listed", "job_ids"),
    [
        ("12", ["12"]),
        ("13_2", ["13_2"]),
        ("13_[3-5,9%2]", ["13_3", "13_4", "13_5", "13_9"]),
        ("13_[1-7:3]", ["13_1", "13_4", "13_7"]),
        ("12348+1", ["12348+1"]),
    ],
)
def test_jobs_that_are_listed_as_one(listed: str, job_ids: list[str]) -> None:
    assert ids_of(JobRecord(listed, "PENDING", "ct-array")) == job_ids


def test_a_command_without_jobs_gives_none() -> None:
    assert parse_squeue("") == parse_sacct("") == parse_scontrol("No jobs in the system\n") == []


UNSENT = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("words", "unsent", "uncertain"),
    [
        (UNSENT, True, False),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True, False),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", False, True),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", False, True),
        (f"sbatch: error: slurm_receive_msg: Socket timed out on send/recv operation\n{UNSENT}", False, True),
        ("sbatch: error: Batch job submission failed: Protocol authentication error", True, False),
        ("sbatch: error: If munged is up, restart with --num-threads=10", True, False),
        ("sbatch: error: Incompatible versions of client and server code", True, False),
        ("sbatch: error while loading shared libraries: libslurm.so.38: cannot open shared object file", True, False),
        ("sbatch: error: invalid partition specified: nosuch", False, False),
        ("", False, False),
    ],
)
def test_what_a_failure_says_of_the_order(words: str, unsent: bool, uncertain: bool) -> None:
    assert (is_unsent(words), is_uncertain(words)) == (unsent, uncertain)


def test_words_about_a_job_and_about_their_number() -> None:
    assert is_no_such_job("slurm_load_jobs error: Invalid job id specified")
    assert is_no_such_job("Job 3_1 not found")
    assert not is_no_such_job("slurm_load_jobs error: Protocol authentication error")
    assert is_full("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    assert not is_full("sbatch: error: invalid partition specified: nosuch")


@pytest.mark.parametrize(
    ("exit_code", "status"), [("3:0", 3), ("0:15", -15), ("0:125", None), ("0:0", None), ("", None)]
)
def test_exit_codes(exit_code: str, status: int | None) -> None:
    assert exit_status(exit_code) == status


def test_every_state_of_this_version_is_in_the_table() -> None:
    """The names that sacct itself knows; an unknown one would be waited for, for ever."""
    known = "BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PENDING"
    known += " PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED RESIZING REVOKED SIGNALING"
    known += " SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED TIMEOUT"

    assert set(known.split()) <= set(TABLE)


def test_states_that_are_over_and_those_that_another_attempt_may_help() -> None:
    over = {state for state, meant in TABLE.items() if meant.over}
    again = {state for state, meant in TABLE.items() if meant.over and meant.retry}

    assert over == {
        *("BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY".split()),
        *("PREEMPTED RECONFIG_FAIL TIMEOUT".split()),
        RESTARTED,
    }
    assert again == {
        *("BOOT_FAIL COMPLETED FAILED LAUNCH_FAILED NODE_FAIL PREEMPTED RECONFIG_FAIL".split()),
        RESTARTED,
    }
    assert isinstance(look_of(JobRecord("12", "BRAND_NEW", "ct")), Alive)
    # It lives on in another cluster.
    assert isinstance(look_of(JobRecord("12", "REVOKED", "ct")), Alive)


@pytest.mark.parametrize(
    ("state", "reason", "exit_code", "words", "retry"),
    [
        (
            *("TIMEOUT", "TimeLimit", "0:15"),
            "its time limit was reached (TIMEOUT, TimeLimit, signal 15); ask for more with time=",
            False,
        ),
        (
            *("CANCELLED", "None", "0:0"),
            "it was cancelled from outside, with scancel or by an administrator (CANCELLED)",
            False,
        ),
        (
            *("FAILED", "NonZeroExitCode", "75:0"),
            f"{TABLE[RESTARTED].words} (RESTARTED, NonZeroExitCode, exit code 75)",
            True,
        ),
        ("NODE_FAIL", "NodeDown", "0:0", "a node that it ran on failed (NODE_FAIL, NodeDown)", True),
    ],
)
def test_an_end_is_explained_in_plain_words(state, reason, exit_code, words, retry) -> None:
    explained = explain(JobRecord("12", state, "ct", reason, exit_code))

    assert explained == (f"Slurm job 12 did not end by itself: {words}", retry)


@pytest.mark.parametrize(
    ("job_ids", "names"),
    [
        ([], []),
        (["12"], ["12"]),
        (["13_2", "12", "13_0", "13_1", "13_9"], ["12", "13_[0-2,9]"]),
        (["7_5", "8_5"], ["7_[5]", "8_[5]"]),
    ],
)
def test_the_elements_of_an_array_are_one_name_for_scancel(job_ids: list[str], names: list[str]) -> None:
    assert compact(job_ids) == names


def test_an_element_of_an_array_belongs_to_a_job_of_the_same_dispatch_alone() -> None:
    assert belongs("ct-4f2a-3-0", "ct-4f2a-3-0")
    assert belongs("ct-4f2a-1-0-array", "ct-4f2a-3-0")
    assert not belongs("ct-4f2a-1-0", "ct-4f2a-3-0")
    assert not belongs("ct-beef-1-0-array", "ct-4f2a-3-0")
    assert is_anothers("ct-beef-3-0", "ct-4f2a-3-0")
    assert is_anothers("ct-beef-1-0-array", "ct-4f2a-3-0")
    assert not is_anothers("ct-4f2a-1-0-array", "ct-4f2a-3-0")
    # Users and sites may give it any name.
    assert not is_anothers("my job", "ct-4f2a-3-0")
    assert key_of(JobRecord("13_2", "RUNNING", "ct-4f2a-1-0-array")) == "ct-4f2a-1-0-array 2"
    assert key_of(JobRecord("13", "RUNNING", "ct-4f2a-1-0")) == "ct-4f2a-1-0"


FILES = """\
0 /w/ct-a-1-0/results/ct-a-1-0.ended
10 /w/ct-a-1-0/results/ct-a-1-0.1.outcome
33 /w/ct-a-2-0/results/ct-a-2-0.4711.stdout
7 /w/ct-x-2-0/results/ct-x-2-0.4711.stdout
"""


def test_what_a_look_at_files_has_shown() -> None:
    prefixes = ["/w/ct-a-1-0/results/ct-a-1-0", "/w/ct-a-2-0/results/ct-a-2-0"]

    assert parse_look(prefixes, FILES) == {
        prefixes[0]: {".ended": 0, ".1.outcome": 10},
        prefixes[1]: {".4711.stdout": 33},
    }


def test_both_ways_to_look_at_files_show_the_same(tmp_path: Path) -> None:
    prefix = str(tmp_path / "a b" / "results" / "ct-a-1-0")
    Path(prefix).parent.mkdir(parents=True)
    Path(f"{prefix}.1.outcome").write_text("{}")
    Path(f"{prefix}.ended").symlink_to("nowhere")
    far = subprocess.run(["sh", "-c", LOOK], input=f"{prefix}\n{prefix}-not-there\n", capture_output=True, text=True)

    assert parse_look([prefix], far.stdout) == look_here([prefix])
    assert look_here([prefix])[prefix] == {".1.outcome": 2, ".ended": len("nowhere")}


def test_a_folder_that_cannot_be_opened_says_nothing_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    prefixes = [str(tmp_path / "file" / "results" / "ct-a-1-0"), str(tmp_path / "none" / "results" / "ct-a-2-0")]

    assert look_here(prefixes) == {
        prefixes[0]: f"cannot look into {tmp_path}/file/results: Not a directory",
        prefixes[1]: {},
    }
