"""The agent on the far side, from here: started when it is first asked, and again when its line was lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import asyncssh

from covalent_core.backend import Opening
from covalent_core_ssh._command import TOO_OLD, agent_command
from covalent_core_ssh.connection import SSHConnection
from covalent_core_ssh.errors import SSHElsewhereError, SSHError, SSHLineLostError, SSHRefusedError
from covalent_core_ssh.program import agent_program

#: Who is told what happens to a job that runs: which nodes have ended, what one has written.
Listener: TypeAlias = Callable[[dict[str, Any]], None]

log = logging.getLogger(__name__)

#: Seconds between two beats, and how many may be missed before either side takes the line to be dead.
BEAT_SECONDS, MISSED_BEATS = 10.0, 6

#: Seconds that the commands before the interpreter, and its start, may take.
START_SECONDS = 90.0

#: How much is shown of what a login script or the host itself says instead of the agent: its end, in bytes.
TALK_BYTES = 2000


class AgentLine:
    """Asks the agent of a host.

    Args:
        python_path: The interpreter there, with the environment that the others say.
        workdir: The folder for all jobs.
        lease: Seconds without a beat after which jobs end themselves; 0 for never.

    Attributes:
        connection: The connection that it goes through.
        host: What the host calls itself, once the agent has said so.
    """

    def __init__(
        self,
        connection: SSHConnection,
        *,
        python_path: str,
        conda_env: str | None,
        prerun_commands: Sequence[str],
        workdir: str,
        lease: float,
    ) -> None:
        self.connection = connection
        self.host = ""
        self._python_path = python_path
        self._beat_seconds = min(BEAT_SECONDS, lease / 4) if lease else BEAT_SECONDS
        self._mark = uuid.uuid4().hex
        self._program = agent_program(self._mark, workdir, max(BEAT_SECONDS, self._beat_seconds) * MISSED_BEATS)
        self._command = agent_command(
            python_path, len(self._program), conda_env=conda_env, prerun_commands=prerun_commands
        )
        self._opening = Opening(self._start, lambda agent: agent.is_there)
        self._lives: set[asyncio.Task[None]] = set()
        self._listeners: dict[str, Listener] = {}

    async def workdir(self) -> str:
        """Return the absolute path of the folder for all jobs, which exists."""
        return (await self._opening.get()).workdir

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            SSHLineLostError: The line was lost; the request may or may not be carried out.
            SSHRefusedError: There can be no agent.
            SSHElsewhereError: The job runs on another host.
            SSHError: The agent could not do what was asked.
        """
        return await (await self._opening.get()).ask(do, **arguments)

    @contextmanager
    def listening(self, ticket: str, listener: Listener) -> Iterator[None]:
        """Have the listener told what the agent sees of a job while somebody waits for its end."""
        self._listeners[ticket] = listener

        try:
            yield
        finally:
            del self._listeners[ticket]

    async def close(self) -> None:
        """Let the agent end; the jobs live on."""
        self._opening.close()

        for life in self._lives:
            life.cancel()

        await asyncio.gather(*self._lives, return_exceptions=True)

    async def _start(self) -> _Agent:
        ready: asyncio.Future[_Agent] = asyncio.get_running_loop().create_future()
        life = asyncio.create_task(self._live(ready))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        return await ready

    async def _live(self, ready: asyncio.Future[_Agent]) -> None:
        """Start an agent and stay with it until its line is lost."""
        try:
            async with self.connection.process(self._command) as process:
                greeting = await asyncio.wait_for(self._greeting(process), START_SECONDS)
                agent = _Agent(self.connection.host.place, process, greeting["workdir"])
                self.host = greeting["host"]
                beats = asyncio.create_task(self._beat(agent))
                ready.set_result(agent)

                try:
                    await agent.listen(self._listeners)
                finally:
                    beats.cancel()
        except asyncio.TimeoutError:
            ready.set_exception(
                SSHRefusedError(
                    f"{self._python_path!r} has not started on {self.connection.host.place} within "
                    f"{START_SECONDS:g} s; does a login script or one of prerun_commands wait for something?"
                )
            )
        except Exception as error:
            if ready.done():
                log.exception("the agent of %s was lost", self.connection.host.place)
            else:
                ready.set_exception(error)
        finally:
            ready.cancel()

    async def _beat(self, agent: _Agent) -> None:
        """Let the agent know that it is wanted, and leave one that does not answer."""
        with suppress(SSHLineLostError):
            while agent.is_there:
                await asyncio.sleep(self._beat_seconds)

                try:
                    await asyncio.wait_for(agent.ask("beat"), BEAT_SECONDS * MISSED_BEATS)
                except asyncio.TimeoutError:
                    log.warning("the agent of %s does not answer any more", self.connection.host.place)
                    # Its session counts until it ends.
                    await self.connection.drop()

    async def _greeting(self, process: asyncssh.SSHClientProcess[bytes]) -> dict[str, str]:
        """Return where the agent is, and its folder for all jobs."""
        host = self.connection.host.place

        with self.connection.while_doing(f"starting {self._python_path!r}"):
            with suppress(BrokenPipeError):
                # Where something else answers it may not read this.
                process.stdin.write(self._program)

            talk = b""

            while (line := await process.stdout.readline()).endswith(b"\n"):
                if line.startswith(self._mark.encode()):
                    greeting: dict[str, str] = json.loads(line[len(self._mark) :])

                    if "error" in greeting:
                        raise SSHRefusedError(f"remote_workdir cannot be used on {host}: {greeting['error']}")

                    return greeting

                talk = (talk + line)[-TALK_BYTES:]

            said = talk + line + await process.stderr.read()
            await process.wait_closed()

        raise self._explain(process.exit_status, said.decode("utf-8", "replace").strip())

    def _explain(self, status: int | None, said: str) -> Exception:
        """Say why there is no agent, and what to do."""
        host, python = self.connection.host.place, self._python_path

        if status is None:
            return SSHLineLostError(f"the line to {host} was lost while {python!r} was started")

        if status == TOO_OLD:
            version = said.split()[-1]
            return SSHRefusedError(
                f"{python!r} on {host} is Python {version}; 3.8 or newer is needed; set python_path to one"
            )

        if status == 127:
            return SSHRefusedError(f"there is no {python!r} on {host} ({said}); set python_path to a Python >= 3.8")

        return SSHRefusedError(f"{python!r} could not be started on {host}: exit status {status}: {said}")


class _Agent:
    """An agent that lives, and the requests it has not answered yet."""

    def __init__(self, host: str, process: asyncssh.SSHClientProcess[bytes], workdir: str) -> None:
        self.workdir = workdir
        self.is_there = True
        self._host = host
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer

        try:
            self.send(number, do, **arguments)
            found = await answer
        finally:
            del self._waiting[number]

        if "elsewhere" in found:
            raise SSHElsewhereError(found["elsewhere"])

        if "error" in found:
            raise SSHError(f"the agent on {self._host} could not {do} the job: {found['error']}")

        return found

    def send(self, number: int, do: str, **arguments: Any) -> None:
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n")
        except OSError as error:
            raise self._lost() from error

    async def listen(self, listeners: Mapping[str, Listener]) -> None:
        """Hand on answers and news; return when the line is lost, which is then the answer to all that still wait."""
        try:
            while line := await self._process.stdout.readline():
                answer = json.loads(line)

                if "news" in answer:
                    listeners.get(answer.pop("news"), _ignore)(answer)
                elif (waiting := self._waiting.get(answer.pop("id"))) is not None and not waiting.done():
                    waiting.set_result(answer)
        except asyncssh.DisconnectError as error:
            log.warning("the line to the agent on %s was lost: %s", self._host, error)
        finally:
            self.is_there = False

            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(self._lost())

    def _lost(self) -> SSHLineLostError:
        return SSHLineLostError(f"the line to the agent on {self._host} was lost")


def _ignore(news: dict[str, Any]) -> None:
    """Nobody waits for this job any more."""
