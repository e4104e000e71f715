"""The knobs of the endpoint, for tests in whatever process: ``POST /_aws/<command>`` with JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .answers import Answer, as_json
from .batch.describing import describe
from .batch.ends import ENDS, Plan
from .batch.errors import ApiError
from .edge import OWN_PATH
from .faults import Fault
from .request import Request

if TYPE_CHECKING:
    from .server import Server

Settings = dict[str, Any]


class Admin:
    """Answers what is not of AWS."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._commands: dict[str, Callable[[Settings], Any]] = {
            "fault": lambda settings: server.edge.faults.add(Fault(**settings)),
            "clear_faults": lambda settings: server.edge.faults.clear(),
            "calls": self._calls,
            "clear_calls": lambda settings: server.edge.calls.clear(),
            "issue": lambda settings: asdict(server.credentials.issue(settings["seconds"])),
            "revoke": lambda settings: server.credentials.revoke(settings["access_key"]),
            "broken": lambda settings: server.edge.broken,
        }
        self._in_loop: dict[str, Callable[[Settings], Coroutine[Any, Any, Any]]] = {
            "turn": self._turn,
            "reset": lambda settings: server.clear(),
            "hold": self._hold,
            "release": self._release,
            "environment": self._environment,
            "plan": self._plan,
            "end": self._end,
            "wait": self._wait,
            "jobs": self._jobs,
        }

    def answer(self, request: Request) -> Answer:
        """Answer one request below ``/_aws/``."""
        try:
            return as_json(self._do(request.path.removeprefix(OWN_PATH), json.loads(request.body or b"{}")))
        except (ApiError, ValueError, TypeError, LookupError, TimeoutError) as error:
            return as_json(f"{type(error).__name__}: {error}", 400)

    def _do(self, command: str, settings: Settings) -> Any:
        if command in self._in_loop:
            return self._server.in_loop(self._in_loop[command](settings))

        if command not in self._commands:
            raise LookupError(f"there is no command {command!r}, only {sorted({*self._commands, *self._in_loop})}")

        return self._commands[command](settings)

    def _calls(self, settings: Settings) -> Settings:
        calls = self._server.edge.calls
        return {"received": calls.received, "reached": calls.reached, "log": calls.log}

    async def _turn(self, settings: Settings) -> None:
        self._server.knobs.turn(**settings)

    async def _hold(self, settings: Settings) -> None:
        """Let no job of a queue start; the one at the head of the line says why."""
        batch = self._server.batch(settings["region"])
        queue = batch.queues.queue(settings["queue"])
        queue.held, queue.held_because = True, settings["reason"]

    async def _release(self, settings: Settings) -> None:
        queue = self._server.batch(settings["region"]).queues.queue(settings["queue"])
        queue.held, queue.held_because = False, None
        queue.serve()

    async def _environment(self, settings: Settings) -> None:
        """Give a compute environment a status."""
        queues = self._server.batch(settings["region"]).queues
        environment = queues.environment(settings["name"])
        environment.status, environment.status_reason = settings["status"], settings["reason"]
        queues.serve()

    async def _plan(self, settings: Settings) -> None:
        plans = self._server.batch(settings.pop("region")).plans

        if settings["way"] not in ENDS:
            raise ValueError(f"there is no end {settings['way']!r}, only {sorted(ENDS)}")

        plans.append(Plan(**settings))

    async def _end(self, settings: Settings) -> None:
        batch = self._server.batch(settings["region"])
        batch.end(batch.jobs[settings["job"]], settings["way"])

    async def _jobs(self, settings: Settings) -> list[Settings]:
        """Return all jobs, whoever may know of them."""
        return [describe(job, 0) for job in self._server.batch(settings["region"]).jobs.values()]

    async def _wait(self, settings: Settings) -> None:
        """Return when all of these jobs have one of these statuses."""
        batch = self._server.batch(settings["region"])
        waits = [batch.reaches(id_, tuple(settings["statuses"])) for id_ in settings["jobs"]]

        try:
            await asyncio.wait_for(asyncio.gather(*waits), settings["timeout"])
        except asyncio.TimeoutError:
            known = (batch.jobs[id_] for id_ in settings["jobs"] if id_ in batch.jobs)
            found = {job.id: (job.status, job.status_reason) for job in known}
            raise TimeoutError(f"not {settings['statuses']} within {settings['timeout']} s: {found}") from None
