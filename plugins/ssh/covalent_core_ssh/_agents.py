"""The agents of the hosts behind one name: a job is asked about where it runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from covalent_core.backend import ProcessHandle
from covalent_core.errors import BackendUnreachableError
from covalent_core_ssh._agent_line import AgentLine, Listener
from covalent_core_ssh.connection import Address, SSHConnection
from covalent_core_ssh.errors import SSHDeniedError, SSHElsewhereError, SSHError
from covalent_core_ssh.host import SSHHost

#: Seconds after a refusal in which jobs that have begun do not make us try to get in again, doubled from one to the
#: next, and the longest ones.
REFUSED_PAUSES = (110.0, 900.0)


class Agents:
    """Asks the agent of a host, or of that one of several hosts where a job runs.

    Args:
        start: Makes the line to an agent.

    Attributes:
        first: The line to wherever the name leads.
    """

    def __init__(self, host: SSHHost, start: Callable[[SSHConnection], AgentLine]) -> None:
        self._host = host
        self._start = start
        self._addresses: dict[str, Address] = {}
        self._others: dict[str, AgentLine] = {}
        self._refusal: SSHDeniedError | None = None
        self._refused_until = self._refused_pause = 0.0
        self.first = start(SSHConnection(host))

    async def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Return the answer to a request about any job.

        Raises:
            BackendUnreachableError: The line was lost; the request may or may not be carried out.
            SSHError: There is no way to the agent, or it could not do what was asked.
        """
        answer = await self.first.ask(do, **order)
        self._note(self.first)
        return answer

    async def ask_about(self, job_handle: str, do: str, **order: Any) -> dict[str, Any]:
        """Return the answer to a request about a job that has begun, from the host where it runs.

        Raises:
            BackendUnreachableError: There was none.
        """
        there = ProcessHandle.parse(job_handle).place.host

        async with self.patience():
            line = self._line_to(there)

            try:
                answer = await line.ask(do, handle=job_handle, **order)
                self._note(line)
                return answer
            except SSHElsewhereError as error:
                self._note(line)
                container = " in a container that cannot be seen from there" if there == error.host else ""
                raise SSHError(
                    f"the task runs on {there}{container}, and {self._host.place} is {error.host} now; "
                    f"name {there}, or wait"
                ) from error

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Say of all that goes wrong within that it is no word about the job, and be refused rarely.

        Raises:
            BackendUnreachableError: Something went wrong.
        """
        if self._refusal is not None and time.monotonic() < self._refused_until:
            raise BackendUnreachableError(str(self._refusal), refused=True)

        try:
            yield
        except SSHDeniedError as error:
            self._note_refusal(error)
            raise BackendUnreachableError(str(error), refused=True) from error
        except SSHError as error:
            raise BackendUnreachableError(str(error)) from error

    @contextmanager
    def listening(self, job_handle: str, ticket: str, listener: Listener) -> Iterator[None]:
        """Have the listener told what the agent sees of a job while somebody waits for its end."""
        with self._line_to(ProcessHandle.parse(job_handle).place.host).listening(ticket, listener):
            yield

    async def close(self) -> None:
        """Let all agents end; the jobs live on."""
        for line in (self.first, *self._others.values()):
            await line.close()
            await line.connection.close()

    def _line_to(self, host: str) -> AgentLine:
        for line in (self.first, *self._others.values()):
            if line.host == host:
                return line

        if host not in self._others and host in self._addresses:
            self._others[host] = self._start(SSHConnection(self._host, self._addresses[host]))

        return self._others.get(host, self.first)

    def _note(self, line: AgentLine) -> None:
        """Remember where a host is, so as to go back to it, and that we are let in."""
        self._refusal, self._refused_pause = None, 0.0

        if line.host not in self._addresses and (address := line.connection.address):
            self._addresses[line.host] = address

    def _note_refusal(self, error: SSHDeniedError) -> None:
        first, longest = REFUSED_PAUSES
        self._refused_pause = min(2 * self._refused_pause or first, longest)
        self._refusal, self._refused_until = error, time.monotonic() + self._refused_pause
