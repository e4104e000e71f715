"""The job script, compared line by line with files, and what is refused before there is one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from covalent_core.errors import ExecutorOptionError
from covalent_core_slurm import SlurmExecutor
from covalent_core_slurm._script import TAKEN, quote_path, seconds_of

GOLDEN = Path(__file__).parent / "golden"

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "typed": {
        "partition": "gpu",
        "account": "physics",
        "qos": "long",
        "nodes": "2-4",
        "ntasks": 8,
        "cpus_per_task": 4,
        "mem": "16G",
        "gres": "gpu:a100:2",
        "time": "1-12:30:00",
        "constraint": "[rack1|rack2]&ib",
    },
    "options": {
        "options": {
            "mail-user": "me@example.org",
            "mail_type": "END,FAIL",
            "--exclusive": None,
            "x": "n[1-3]",
            "hold": False,
            "reservation": "it's mine",
        }
    },
    "environment": {
        "bashrc_path": "$HOME/.bashrc",
        "variables": {"OMP_NUM_THREADS": "4", "TITLE": "a 'b' $c"},
        "prerun_commands": ["module load python/3.11"],
        "conda_env": "my env",
        "python_path": "~/bin/python3",
    },
    "postrun": {"postrun_commands": ["echo done", "rm -rf $TMPDIR/x"]},
    "srun": {"use_srun": True, "srun_options": {"mpi": "pmix", "exclusive": None}, "srun_append": "nsys profile"},
    "spread": {
        "spread": True,
        "ntasks": 8,
        "nodes": 2,
        "cpus_per_task": 4,
        "srun_options": {"exact": None, "cpu_bind": "cores"},
    },
    "deadline": {"time": "90"},
    "signal": {"options": {"signal": "B:USR1@60"}},
    "signal_postrun": {"options": {"signal": "R:sigusr2@60"}, "postrun_commands": ["echo done"]},
    "signal_that_ends": {"options": {"signal": "B:TERM"}},
}


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_the_golden_one(name: str) -> None:
    executor = SlurmExecutor(**CASES[name])
    written = executor._script.write("ct-4f2a-3-0", "/home/me/my work/ct-4f2a-3-0", "..")

    assert written == (GOLDEN / f"{name}.sh").read_text()


def test_the_script_of_an_array_is_the_golden_one() -> None:
    executor = SlurmExecutor(partition="gpu", conda_env="my env", postrun_commands=["module purge"])
    members = [("ct-4f2a-3-0", "../4f2a/node_3"), ("ct-4f2a-5-1", "../4f2a/node_5")]
    written = executor._script.write_array("ct-4f2a-3-0-array", "/home/me/my work", members)

    assert written == (GOLDEN / "array.sh").read_text()


@pytest.mark.parametrize("name", [*CASES, "array"])
def test_bash_can_read_it(name: str) -> None:
    subprocess.run(["bash", "-n", GOLDEN / f"{name}.sh"], check=True)


def test_there_is_no_golden_file_that_nobody_compares() -> None:
    assert {file.stem for file in GOLDEN.glob("*.sh")} == {*CASES, "array"}


@pytest.mark.parametrize("option", sorted(TAKEN))
def test_what_the_executor_sets_itself_is_refused(option: str) -> None:
    with pytest.raises(ExecutorOptionError, match=f"options has '{option}', which the executor sets itself"):
        SlurmExecutor(options={option: "x"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"partition": "a", "options": {"partition": "b"}},
            "options has 'partition', which is already 'a'; say it once",
        ),
        ({"ntasks": 1, "options": {"n": 2}}, "options has 'n', which is already 1; say it once"),
        ({"options": {"mem; reboot": 1}}, "expected the name of an option and one line"),
        ({"options": {"mem": "1\n#SBATCH --array=1-5"}}, "expected the name of an option and one line"),
        ({"partition": "a\nrm -rf ~"}, "expected the name of an option and one line"),
        ({"srun_options": {"mpi": "a\nb"}}, "expected the name of an option and one line"),
        ({"variables": {"A B": "c"}}, "variables has 'A B', expected a name"),
    ],
)
def test_what_cannot_be_an_option_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ExecutorOptionError) as caught:
        SlurmExecutor(**arguments)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("1:30:00", 5400),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("1-0:0:1", 86401),
        ("infinite", None),
        ("", None),
    ],
)
def test_time_limits_are_understood_as_sbatch_does(time: str, seconds: int | None) -> None:
    assert seconds_of(time) == seconds


@pytest.mark.parametrize(
    ("path", "means"),
    [
        ("~/a b", "/home/me/a b"),
        ("~", "/home/me"),
        ("$SCRATCH/x", "/scratch/x"),
        ("${SCRATCH}y", "/scratchy"),
        ("a`id`$(id)\"'\\", "a`id`$(id)\"'\\"),
        ("$5", "$5"),
    ],
)
def test_a_path_means_what_the_user_wrote(path: str, means: str) -> None:
    command = ["sh", "-c", f"printf %s {quote_path(path)}"]
    environment = {"HOME": "/home/me", "SCRATCH": "/scratch", "PATH": "/usr/bin:/bin"}

    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == means
