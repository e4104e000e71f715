"""The guardian of a job: what Dask takes for the task. The job itself is a process that it does not own.

Beside each Dask worker is one agent, started when it is first needed; below that is the nursery, which has the runner
in memory and forks one for each job, in a session of its own. The agent ends when its worker does, the nursery after
the last of its runners: these go on whatever becomes of the worker, for their results are in files.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

#: The environment variable that marks what comes from a runner, and what agents and nurseries have there.
TAG, IDLE = "COVALENT_CORE_SUPERVISOR", "0" * 32

#: Runs in the agent before all else. A limit that it has is that of all that comes from it.
_BEGIN = """
import resource, sys, zipfile

archive, limit = sys.argv[1:]

if int(limit):
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit) if hard < 0 else min(int(limit), hard), hard))

with zipfile.ZipFile(archive) as file:
    program = file.read("agent.py")

sys.argv[1:] = []
exec(compile(program, "agent.py", "exec"), {"__name__": "agent"})
"""

Answer = dict[str, Any]


class Agent:
    """The agent of this process, and the requests that it has not answered yet."""

    def __init__(self, program: str) -> None:
        command = [sys.executable, "-c", _BEGIN, program, str(_memory_limit())]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, TAG: IDLE},
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Answer]] = {}
        self._ended = ""
        threading.Thread(target=self._listen, name="covalent-core agent", daemon=True).start()

    @property
    def is_there(self) -> bool:
        return not self._ended

    def ask(self, do: str, **order: Any) -> Future[Answer]:
        """Return where the answer will be.

        Raises:
            ChildProcessError: It has ended; the same comes as an answer if it ends later.
        """
        answer: Future[Answer] = Future()
        number = next(self._numbers)
        assert self._process.stdin is not None

        with self._lock:
            if self._ended:
                raise ChildProcessError(self._ended)

            self._waiting[number] = answer

            # Who listens says what has become of it.
            with suppress(OSError):
                self._process.stdin.write(json.dumps({"id": number, "do": do, **order}).encode() + b"\n")
                self._process.stdin.flush()

        return answer

    def _listen(self) -> None:
        assert self._process.stdout is not None
        said = ""

        for line in self._process.stdout:
            with suppress(ValueError):
                answer = json.loads(line)
                said = answer.get("error", said) if "id" not in answer else said
                waiting = self._waiting.pop(answer.pop("id", 0), None)

                if waiting is not None:
                    waiting.set_result(answer)

        with self._lock:
            self._ended = f"the agent has ended with exit code {self._process.wait()}; {said or 'it said nothing'}"

            for waiting in self._waiting.values():
                waiting.set_exception(ChildProcessError(self._ended))


#: The one of this process, once it is needed.
_agents: list[Agent] = []
_starting = threading.Lock()


def guard(program: str, ticket: str, folder: str, lease: float) -> None:
    """Start a job unless somebody has, and return when it has ended. How it has ended is in its files.

    Raises:
        RuntimeError: It could not be started.
    """
    if not os.path.isdir(folder):
        # It was released before its turn had come.
        return

    agent = _agent(program)
    started = agent.ask("start", ticket=ticket, folder=folder, workdir="..", lease=lease).result()

    if "handle" in started:
        agent.ask("wait", ticket=ticket, folder=folder, handle=started["handle"], lease=0).result()
    elif "barred" not in started.get("error", ""):
        raise RuntimeError(f"the job could not be started on {os.uname().nodename}: {started['error']}")


async def ask(program: str, request: dict[str, Any]) -> Answer:
    """Return what the agent of this process answers, without keeping a thread busy."""
    return await asyncio.wrap_future(_agent(program).ask(**request))


def _agent(program: str) -> Agent:
    with _starting:
        if not _agents or not _agents[-1].is_there:
            _agents[:] = [Agent(program)]

        return _agents[-1]


def _memory_limit() -> int:
    """Return how many bytes Dask lets this worker use, 0 if that is not limited."""
    from distributed import get_worker

    # A nanny is no worker.
    with suppress(ValueError):
        return int(get_worker().memory_manager.memory_limit or 0)

    return 0
