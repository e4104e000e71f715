"""A request whose answer was lost is waited for, then barred: only the word of the executor ends the waiting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from covalent_core import Job, Perhaps
from covalent_core._dispatch import compute
from covalent_core._dispatch.attempts import Attempts
from covalent_core._dispatch.calls import Calls
from covalent_core._dispatch.compute import Compute
from covalent_core._dispatch.turns import Turns
from covalent_core._model.job import TaskCall


class Executor:
    """Loses its answer to `provision`; `find` gives what it has been told, one after the other."""

    name = "Executor"

    def __init__(self, *found: Any) -> None:
        self.found = list(found)
        self.calls: list[tuple[str, bool]] = []

    async def call(self, hook: str, job: Job, **_: Any) -> Any:
        self.calls.append((hook, job.barred))

        if hook == "provision":
            raise ConnectionError("the answer was lost")

        return self.found.pop(0)

    async def bound(self) -> Any:
        return self

    ready = True


def provision(executor: Executor) -> str:
    job = Job("dispatch", "ct-ticket", 0, (TaskCall(0, "task", b"", b""),), location="there")
    journal: Any = SimpleNamespace(look_for_orders=lambda: None)
    attempts = Attempts(journal, job.ticket, grace=0, since=None, count=0)
    calls = Calls(job, executor, journal, lambda: None)  # type: ignore[arg-type]
    shared: Any = executor
    shared.turns = Turns(None)
    return anyio.run(Compute(job, executor=shared, calls=calls, attempts=attempts, asked=False).provision)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "FIND_SECONDS", 0.1)


def test_when_it_has_taken_long_the_ticket_is_barred_and_then_none_is_believed() -> None:
    executor = Executor(Perhaps("it may be on its way"), Perhaps("it may be on its way"), None)

    with pytest.raises(ConnectionError):
        provision(executor)

    assert executor.calls == [("provision", False), ("find", False), ("find", True), ("find", True)]


def test_what_is_found_after_the_bar_is_the_job() -> None:
    assert provision(Executor(Perhaps("it may be on its way"), Perhaps("still"), "handle")) == "handle"
