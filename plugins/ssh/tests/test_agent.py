"""The agent by itself, without SSH: what it promises when an order comes late, twice, or to two agents at once."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from probes import alive, wait_until
from tasks import count_until_told, runs_in

from covalent_core import Job
from covalent_core._executors.bundle import pack
from covalent_core._model.job import TaskCall
from covalent_core_ssh import program
from covalent_core_ssh._command import MARK, agent_command
from covalent_core_ssh.program import agent_program

TICKET, GREETING = "ct-1-0-0", "the agent says: "


NOBODY = {"handle": None, "starting": False}


class Agent:
    """An agent that is asked over pipes."""

    def __init__(self, workdir: Path, silence: float = 60.0) -> None:
        program = agent_program(GREETING, str(workdir), silence)
        command = agent_command(sys.executable, len(program), conda_env=None, prerun_commands=[])
        self.process = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(program)
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"\n"
        self.greeting = json.loads(self.process.stdout.readline().decode().removeprefix(GREETING))

    def send(self, do, **arguments):
        self.process.stdin.write(json.dumps({"id": do, "do": do, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def read(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, do, **arguments):
        self.send(do, **arguments)
        answer = self.read()
        assert answer.pop("id") == do
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def agent(tmp_path):
    opened = Agent(tmp_path / "work")
    yield opened
    opened.close()


@pytest.fixture
def other_agent(tmp_path):
    opened = Agent(tmp_path / "work")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path, agent):
    """Return the folder of a job that has been uploaded; once started it goes on until it is waited for."""
    function, call = cloudpickle.dumps(count_until_told), cloudpickle.dumps(((tmp_path,), {}))
    job = Job("1", TICKET, 0, (TaskCall(0, "count", function, call, {}),), grace=0.2)
    path = tmp_path / "work" / TICKET
    path.mkdir()
    (path / "bundle.pyz").write_bytes(pack(job))
    return str(path)


def start(agent, folder):
    return agent.ask("start", ticket=TICKET, folder=folder, workdir="..", lease=0)


def release(agent, folder, keep=False):
    return agent.ask("release", ticket=TICKET, folder=folder, workdir="", keep=keep)


def wait(agent, folder, handle):
    Path(folder).parents[1].joinpath("go").touch()
    return agent.ask("wait", ticket=TICKET, folder=folder, handle=handle, lease=0)


def test_an_order_that_comes_twice_starts_one_job(agent, folder, tmp_path) -> None:
    first, second = start(agent, folder), start(agent, folder)

    assert first == second
    assert wait(agent, folder, first["handle"]) == {"complete": True}
    assert start(agent, folder) == first
    assert len(runs_in(tmp_path)) == 1


def test_two_agents_that_are_told_at_once_start_one_job(agent, other_agent, folder, tmp_path) -> None:
    for asked in (agent, other_agent):
        asked.send("start", ticket=TICKET, folder=folder, workdir="..", lease=0)

    first, second = agent.read(), other_agent.read()

    assert first == second
    assert wait(agent, folder, first["handle"]) == wait(other_agent, folder, first["handle"]) == {"complete": True}
    assert len(runs_in(tmp_path)) == 1


def test_an_order_that_comes_after_the_cancel_starts_nothing(agent, folder, tmp_path) -> None:
    assert agent.ask("find", ticket=TICKET, folder=folder, forbid=False) == NOBODY
    assert agent.ask("find", ticket=TICKET, folder=folder, forbid=True) == NOBODY
    assert start(agent, folder) == {
        "error": "the job was barred before it had started: by a cancel, or because nobody could be asked"
    }
    assert runs_in(tmp_path) == []


def test_an_order_that_comes_after_the_release_starts_nothing_and_leaves_nothing(agent, folder, tmp_path) -> None:
    release(agent, folder)

    assert "error" in start(agent, folder)
    assert list((tmp_path / "work").iterdir()) == []
    assert agent.ask("find", ticket=TICKET, folder=folder, forbid=True) == NOBODY
    assert list((tmp_path / "work").iterdir()) == []


def test_an_order_after_the_release_starts_nothing_though_the_files_are_kept(agent, folder, tmp_path) -> None:
    release(agent, folder, keep=True)

    assert "error" in start(agent, folder)
    assert Path(folder, "bundle.pyz").exists()
    assert runs_in(tmp_path) == []


def test_an_agent_that_hung_carries_out_nothing_after_the_release(agent, other_agent, folder, tmp_path) -> None:
    os.kill(agent.process.pid, signal.SIGSTOP)
    agent.send("start", ticket=TICKET, folder=folder, workdir="..", lease=0)
    release(other_agent, folder, keep=True)
    os.kill(agent.process.pid, signal.SIGCONT)

    assert "error" in agent.read()
    assert runs_in(tmp_path) == []


def test_the_release_ends_what_has_started_all_the_same(agent, folder, tmp_path) -> None:
    handle = start(agent, folder)["handle"]
    release(agent, folder)

    assert not alive(int(handle.split(".")[0]))
    assert [path.name for path in (tmp_path / "work").iterdir() if path.name != "runs"] == []


def test_a_job_of_another_host_is_not_known_unless_it_has_said_that_it_has_ended(agent, folder) -> None:
    handle = start(agent, folder)["handle"]
    elsewhere = f"{handle.rpartition('.')[0]}.elsewhere"
    order = {"ticket": TICKET, "folder": folder, "handle": elsewhere}

    for do, more in [("wait", {"lease": 0}), ("end", {"grace": 0})]:
        assert agent.ask(do, **order, **more) == {"elsewhere": os.uname().nodename}

    assert alive(int(handle.split(".")[0]))
    assert wait(agent, folder, handle) == {"complete": True}
    assert agent.ask("end", **order, grace=0) == {"complete": True}


def test_the_folder_of_a_job_is_made_by_nobody_else(agent, tmp_path) -> None:
    folder = tmp_path / "work" / "ct-2-0-0"
    folder.mkdir()
    folder.chmod(0o775)

    assert "can be written by other users" in agent.ask("prepare", ticket="ct-2-0-0", folder=str(folder))["error"]
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert "is a link" in agent.ask("prepare", ticket="ct-2-0-0", folder=str(folder))["error"]


def test_the_job_lives_on_when_the_agent_ends_and_the_next_one_knows_it(agent, other_agent, folder, tmp_path) -> None:
    handle = start(agent, folder)["handle"]
    agent.close()

    assert alive(int(handle.split(".")[0]))
    assert other_agent.ask("find", ticket=TICKET, folder=folder, forbid=True) == {"handle": handle, "starting": False}
    assert wait(other_agent, folder, handle) == {"complete": True}


def test_another_agent_ends_it(agent, other_agent, folder) -> None:
    handle = start(agent, folder)["handle"]

    assert other_agent.ask("end", ticket=TICKET, folder=folder, handle=handle, grace=1) == {"complete": True}
    assert not alive(int(handle.split(".")[0]))


def test_what_cannot_be_started_is_said(agent, folder) -> None:
    Path(folder, "bundle.pyz").write_bytes(b"no zip")
    error = start(agent, folder)["error"]

    assert "zip" in error.lower()


def test_an_agent_that_hears_nothing_ends(tmp_path) -> None:
    agent = Agent(tmp_path / "work", silence=0.2)
    wait_until(lambda: agent.process.poll() is not None)
    agent.close()

    assert agent.process.returncode == 0


def test_the_program_is_one_that_python_3_8_can_read() -> None:
    for name, source in program._modules():
        ast.parse(source, name, feature_version=(3, 8))
        # What is annotated may be newer, for nobody evaluates it.
        assert not source or "from __future__ import annotations" in source


def test_the_command_is_one_that_every_shell_can_read() -> None:
    program = (
        "import os,sys;sys.path[:]=filter(None,sys.path);sys.version_info>=(3,8)or"
        "[sys.stderr.write(sys.version.split()[0]),sys.stderr.flush(),os._exit(86)];exec(sys.stdin.buffer.read(9))"
    )

    assert agent_command("python3", 9, conda_env=None, prerun_commands=[]) == (
        f"sh -c 'exec env {MARK} python3 -c '\"'\"'{program}'\"'\"''"
    )
    assert agent_command("~/my env/bin/python", 9, conda_env="chem", prerun_commands=["module load gcc"]) == (
        "bash -lc '{ module load gcc; } >&2 && "
        '{ eval "$(conda shell.bash hook)" && conda activate chem; } >&2 && '
        f"exec env {MARK} \"$HOME\"/'\"'\"'my env/bin/python'\"'\"' -c '\"'\"'{program}'\"'\"''"
    )
