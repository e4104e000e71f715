"""Processes by handles: whose end is known, whose is not, and what is left of one that was killed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from probes import alive, processes_with, wait_until

from covalent_core.backend import TAG, Place, ProcessHandle, _strays, sweep
from covalent_core.backend._proc import environment, has_tag, living, look_at
from covalent_core.errors import BackendUnreachableError, ExecutorError
from covalent_core.testing._probes import processes_about

HERE = Place.here()

#: Prints its handle, and waits.
SHOW_AND_WAIT = """
import os, sys, time
from covalent_core.backend import ProcessHandle

print(ProcessHandle.of(os.getpid(), os.environ.get("COVALENT_CORE_SUPERVISOR", "")), flush=True)
time.sleep(600)
"""


@pytest.fixture
def tag() -> Iterator[str]:
    """Give a tag; whatever bears it, or has it in its command, is killed at the end."""
    made = uuid.uuid4().hex
    yield made

    for pid in {*processes_with(TAG, made), *processes_about(made)}:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(tag: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        environment = {**os.environ, TAG: tag}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start

    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def own_start() -> str:
    """Return when these tests started, which is before all that they start."""
    return ProcessHandle.of(os.getpid()).started


def swept(tag: str, **options: Any) -> None:
    asyncio.run(sweep(tag, **{"after": own_start(), **options}))


def needs_root(program: str) -> None:
    if os.getuid() != 0 or shutil.which(program) is None:
        pytest.skip(f"needs root and {program}")


# --- handles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("12.3400", ProcessHandle(12, "3400", "", HERE)),
        ("12.3400.tag-a", ProcessHandle(12, "3400", "tag-a", HERE)),
        ("12.3400@40.b-1.login1.c.org", ProcessHandle(12, "3400", "", Place("40", "b-1", "login1.c.org"))),
        ("12.3400.tag-a@40.b-1.login1", ProcessHandle(12, "3400", "tag-a", Place("40", "b-1", "login1"))),
    ],
)
def test_a_handle_is_a_text(text: str, handle: ProcessHandle) -> None:
    assert ProcessHandle.parse(text) == handle
    assert ProcessHandle.parse(str(handle)) == handle


@pytest.mark.parametrize("text", ["", "nobody", "12", "x.1", "12.1.t@40"])
def test_what_is_no_handle_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ProcessHandle.parse(text)


def test_a_process_lives_until_it_has_ended(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    process = start("sleep", "600")
    handle = ProcessHandle.of(process.pid, tag)
    assert handle.is_alive() is True

    handle.signal(signal.SIGTERM)
    asyncio.run(asyncio.wait_for(handle.wait(), 10))

    # Nobody has taken notice of its end so far.
    assert look_at(process.pid) is not False
    assert handle.is_alive() is False
    assert asyncio.run(handle.is_over_within(0)) is True
    process.wait()
    assert handle.is_alive() is False
    handle.signal(signal.SIGKILL)


def test_one_that_goes_on_is_not_over_in_time(start: Callable[..., subprocess.Popen[str]]) -> None:
    handle = ProcessHandle.of(start("sleep", "600").pid)

    assert asyncio.run(handle.is_over_within(0.02)) is False


@pytest.mark.parametrize("change", [{"started": "1"}, {"tag": "another"}], ids=["another start", "another tag"])
def test_another_process_of_the_same_number_is_not_meant(
    start: Callable[..., subprocess.Popen[str]], tag: str, change: dict[str, str]
) -> None:
    process = start("sleep", "600")
    wait_until(lambda: bool(environment(process.pid)))
    handle = dataclasses.replace(ProcessHandle.of(process.pid, tag), **change)

    assert handle.is_alive() is False
    handle.signal(signal.SIGKILL)
    asyncio.run(asyncio.wait_for(handle.wait(), 10))
    assert alive(process.pid)


@pytest.mark.parametrize(
    ("place", "known"),
    [
        (dataclasses.replace(HERE, host="another"), None),
        (dataclasses.replace(HERE, host="another", boot="another"), None),
        (dataclasses.replace(HERE, namespace="1"), None),
        (dataclasses.replace(HERE, namespace="1", boot="another"), None),
        (dataclasses.replace(HERE, boot="another"), False if HERE.namespace == "4026531836" else None),
    ],
    ids=["host", "host and boot", "container", "container and boot", "boot"],
)
def test_what_is_elsewhere_is_not_known_but_for_what_was_before_the_boot(place: Place, known: bool | None) -> None:
    # Neither this number nor any other of that place means this process.
    handle = dataclasses.replace(ProcessHandle.of(os.getpid()), place=place)

    assert handle.is_alive() is known

    if known is None:
        with pytest.raises(BackendUnreachableError, match=f"process {os.getpid()} runs on"):
            handle.signal(0)

        for operation in (handle.wait, handle.sweep, lambda: handle.is_over_within(1)):
            with pytest.raises(BackendUnreachableError):
                asyncio.run(operation())
    else:
        handle.signal(signal.SIGKILL)
        asyncio.run(handle.sweep())


@pytest.mark.parametrize(
    "elsewhere",
    [("--pid", "--fork", "--kill-child", "--mount-proc"), ("--uts", "sh", "-c", 'hostname another; exec "$@"', "sh")],
)
def test_a_living_process_of_another_container_or_host_is_not_taken_for_dead(
    start: Callable[..., subprocess.Popen[str]], elsewhere: tuple[str, ...]
) -> None:
    needs_root("unshare")
    process = start("unshare", *elsewhere, sys.executable, "-c", SHOW_AND_WAIT)
    assert process.stdout is not None
    text = process.stdout.readline().strip()

    assert ProcessHandle.parse(text).is_alive() is None
    # What a handle without a place would say.
    assert elsewhere[0] != "--pid" or ProcessHandle.parse(text.partition("@")[0]).is_alive() is False


def test_what_bears_a_tag_is_found(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    first = start("sleep", "600")
    wait_until(lambda: bool(environment(first.pid)))
    assert ProcessHandle.tagged(tag) == [ProcessHandle.of(first.pid, tag)]
    assert ProcessHandle.tagged("another") == []


# --- what is left ----------------------------------------------------------------------------------------------------

#: Starts commands, each below a shell that then leaves it alone, and ends.
LEAVE = """
import os, subprocess, sys, time

for command in sys.argv[1:]:
    subprocess.run(["sh", "-c", f"{command} & echo $!"], start_new_session="setsid" in command)
"""


def left_by(start: Callable[..., subprocess.Popen[str]], *commands: str) -> list[int]:
    """Return the processes that a supervisor has left which is gone."""
    process = start(sys.executable, "-c", LEAVE, *commands)
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in commands]
    process.wait()
    return pids


def noted(*pids: int) -> list[str]:
    """Return processes as a supervisor notes them that has them below it."""
    found = [look_at(pid) for pid in pids]
    return [process.name for process in found if process]


def test_what_bears_the_tag_is_ended(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    pids = left_by(start, "sleep 600", "setsid sleep 600", "nohup sleep 600 >/dev/null")
    wait_until(lambda: all(alive(pid) for pid in pids))

    swept(tag)

    assert [pid for pid in pids if alive(pid)] == []


def test_what_has_cleared_its_environment_is_ended_if_it_was_noted(
    start: Callable[..., subprocess.Popen[str]], tag: str
) -> None:
    (pid,) = left_by(start, f"env -i sh -c 'exec 3>&-; sleep 600 & sleep 600; : {tag}'")
    wait_until(lambda: len(children_of(pid)) == 2)
    children = children_of(pid)

    swept(tag)
    assert alive(pid)

    swept(tag, noted=noted(pid))
    assert [pid for pid in (pid, *children) if alive(pid)] == []


def test_what_a_noted_leader_has_left_in_its_session_is_ended(
    start: Callable[..., subprocess.Popen[str]], tag: str
) -> None:
    process = start("env", "-i", "setsid", "sh", "-c", f"sleep 600 & echo $$ $!; read go; : {tag}")
    assert process.stdout is not None
    leader, child = map(int, process.stdout.readline().split())
    names = noted(leader)
    os.kill(leader, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(leader))
    assert alive(child)

    swept(tag, noted=names)

    assert not alive(child)


def test_a_number_that_was_given_again_is_not_ended(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    process = start("env", "-i", "sleep", "600")
    # Until then it is what bears the tag.
    wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")

    swept(tag, noted=[f"{process.pid}.1"])

    assert alive(process.pid)


def test_what_is_older_than_the_supervisor_is_none_of_it(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    process = start("sleep", "600")

    swept(tag, after=str(10**15))

    assert alive(process.pid)


def test_what_forks_faster_than_it_is_looked_at_is_ended(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    process = start(sys.executable, "-c", "import os\nwhile True: os.fork() and os._exit(0)\n")

    swept(tag)

    assert [found for found in living() if has_tag(found.pid, tag)] == []
    process.wait()


SWEEP = """
import anyio._backends._asyncio, asyncio, os, queue, sys
from covalent_core.backend import sweep

try:
    os.setuid(int(sys.argv[3]))
    asyncio.run(sweep(sys.argv[1], after=sys.argv[2], seconds=0.05))
    print("through")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_sweep_does_not_end_who_sweeps(start: Callable[..., subprocess.Popen[str]], tag: str) -> None:
    """A dispatcher that was started by a task bears the tag of that."""
    sweeping = start(sys.executable, "-c", SWEEP, tag, own_start(), str(os.getuid()))

    assert sweeping.stdout is not None
    assert sweeping.stdout.read() == "through\n"


HIDE = """
import ctypes, os, sys, time
os.setuid(int(sys.argv[1]))
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
print("hidden", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("after", "clear"), [(1, False), (0, True), (10**15, True)], ids=["orphan", "child of a bystander", "older"]
)
def test_what_hides_its_environment_is_not_taken_for_absent(
    start: Callable[..., subprocess.Popen[str]], tag: str, after: int, clear: bool
) -> None:
    # Root sees everything.
    user = str(os.getuid() or 65534)
    hiding = start(sys.executable, "-c", HIDE, user)
    assert hiding.stdout is not None
    hiding.stdout.readline()
    command = [sys.executable, "-c", SWEEP, tag, str(int(own_start()) + after), user]
    ran = subprocess.run(command, capture_output=True, text=True)

    assert ran.stderr == ""
    assert alive(hiding.pid)

    if clear:
        assert ran.stdout == "through\n"
    else:
        assert ran.stdout.startswith("ExecutorError not everything of the job is known to be gone: the processes ")
        assert f"{hiding.pid} may belong to it" in ran.stdout


def test_what_cannot_be_ended_is_an_error(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., subprocess.Popen[str]], tag: str
) -> None:
    """As a program of another user that bears the tag."""
    process = start("sleep", "600")
    monkeypatch.setattr(_strays, "_send", lambda *_: None)

    with pytest.raises(ExecutorError, match=f"the processes {process.pid} are alive 0.05 s after"):
        swept(tag, seconds=0.05)


def children_of(pid: int) -> list[int]:
    return [found.pid for found in living() if found.parent == pid]
