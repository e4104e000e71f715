"""What one test of the suite has to itself: a home, an executor, a dispatcher it can hold and kill, and its probes."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import anyio

import covalent_core as ct
from covalent_core import Job, Result, Status
from covalent_core._executors.bound import BoundExecutor
from covalent_core._executors.installed import create, describe
from covalent_core._home import find_home
from covalent_core._model.job import TaskCall
from covalent_core._runner.processes import children
from covalent_core._store.store import Store
from covalent_core.errors import ResultTimeoutError
from covalent_core.testing._matrix import AFTER_A_CANCEL
from covalent_core.testing._probes import Call, Stops, alive, kill_dispatcher, wait_until
from covalent_core.testing._tasks import tasks


class Author(Protocol):
    """What the author of an executor says about it."""

    patience: float
    reports_results: bool
    reports_output: bool
    tells_how_to_end: bool
    has_files: bool

    def executor(self, folder: Path) -> Any: ...
    def alive(self, ticket: str, noted: list[str]) -> list[str]: ...
    def left(self, folder: Path) -> list[str]: ...
    def reused_handle(self, old: str, new: str) -> str: ...


class Bench:
    """One test's own."""

    def __init__(self, author: Author, folder: Path, stops: Stops) -> None:
        self.stops = stops
        self.home = find_home().folder
        self.tasks = tasks()
        self._author = author
        self.folder = folder / "backend"
        # Below it, so that a container which has only that folder can write there.
        self.notes = self.folder / "notes"
        self.notes.mkdir(parents=True)
        self.executor = author.executor(self.folder)
        self.cancels_members = BoundExecutor(self.executor).cancels_members
        self.patience = author.patience
        self.reports_results = author.reports_results
        self.reports_output = author.reports_output
        self.tells_how_to_end = author.tells_how_to_end
        self.has_files = author.has_files

    # --- what a user does ----------------------------------------------------------------------------------------

    def dispatch(self, function: Callable[..., Any], *arguments: Any, grace: float | None = None) -> str:
        """Dispatch a workflow of one task."""

        @ct.lattice(executor=self.executor)
        def workflow(*arguments: Any) -> Any:
            return ct.electron(grace=grace)(function)(*arguments)

        return ct.dispatch(workflow)(*arguments)

    def work(self, name: str = "done", *, deaf: bool = False, grace: float | None = None) -> str:
        """Dispatch a task that goes on until told to `go`, with a child and an orphan."""
        return self.dispatch(self.tasks.work, str(self.notes), name, deaf, grace=grace)

    def go(self) -> None:
        """Let the tasks come to their end."""
        (self.notes / "go").touch()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Result:
        """Dispatch a workflow of one task, and wait for its end."""
        return self.end(self.dispatch(function, *arguments))

    def end(self, dispatch_id: str) -> Result:
        """Wait for the end of a dispatch."""
        with self._saying_what_is_waited_for():
            return ct.get_result(dispatch_id, wait=True, timeout=self.patience)

    def clear(self) -> None:
        """End and release what a test has left at the backend."""
        self.stops.clear()
        self.go()
        left = [result.dispatch_id for result in ct.list_dispatches() if not result.status.terminal]

        for dispatch_id in left:
            ct.cancel(dispatch_id)

        # What went wrong is what the test has said.
        with suppress(AssertionError):
            for dispatch_id in left:
                self.end(dispatch_id)

    def release(self, job: Job) -> None:
        """Release a job with an executor that keeps nothing."""
        self.executor = self._author.executor(self.folder)
        self.call("release", job, location=job.location)

    # --- what happens to the dispatcher --------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill the dispatcher."""
        kill_dispatcher(self.home)

    def wait_at(self, stop: str) -> None:
        """Return when the dispatcher waits at a stop."""
        with self._saying_what_is_waited_for():
            self.stops.wait(stop, self.patience)

    def lasts(self, seconds: float, condition: Callable[[], object]) -> None:
        """Return after some seconds in which a condition has held at each look."""
        latest = time.monotonic() + seconds

        while time.monotonic() < latest:
            assert condition(), f"did not last for {seconds} s"
            time.sleep(0.02)

    def until(self, condition: Callable[[], object]) -> None:
        """Return when a condition holds; fail if it does not for too long."""
        with self._saying_what_is_waited_for():
            wait_until(condition, self.patience)

    def until_waiting(self, dispatch_id: str, text: str) -> None:
        """Return when the node of a dispatch says what it waits for in words that contain a text."""
        self.until(lambda: text in str(self.node(dispatch_id)["waiting"]))

    @contextmanager
    def _saying_what_is_waited_for(self) -> Iterator[None]:
        """Let who waits in vain see what the nodes say: a hook that blocks the dispatcher is named there."""
        try:
            yield
        except (AssertionError, ResultTimeoutError) as error:
            raise AssertionError("; ".join([str(error), *self._words()])) from error

    def _words(self) -> Iterator[str]:
        for result in ct.list_dispatches():
            for name, node_id in result.nodes():
                node = result.get_node_result(node_id)

                if said := node["waiting"] or (node["cancelling"] or node)["error"]:
                    yield f"{name} is {node['status']}: {said}"

    # --- what can be seen ----------------------------------------------------------------------------------------

    def begun(self) -> list[list[str]]:
        """Return what the tasks that have begun have noted: each its processes, as ``<pid>.<start time>``.

        The first is the process of the task itself. It is left out when the task has come to its end.
        """
        return self.noted_below(self.notes)

    def noted_below(self, folder: Path) -> list[list[str]]:
        """Return what the tasks have noted that were given a folder to write into, as `begun` does."""
        return [self._noted(file) for kind in ("begun", "ended") for file in sorted(folder.rglob(f"{kind}-*"))]

    def ended(self) -> list[Path]:
        """Return the notes of the tasks that have come to their end by themselves."""
        return sorted(self.notes.rglob("ended-*"))

    def _noted(self, file: Path) -> list[str]:
        try:
            processes: list[str] = json.loads(file.read_text())
        except FileNotFoundError:
            return self._noted(file.with_name(file.name.replace("begun-", "ended-")))

        return processes[1:] if file.name.startswith("ended-") else processes

    def tickets(self) -> list[str]:
        """Return the tickets of all jobs that a hook has been called for."""
        return sorted({call.ticket for call in self.stops.calls()})

    def alive(self) -> list[str]:
        """Return what lives at the backend, according to the author's probe."""
        noted = [process for processes in self.begun() for process in processes]
        found = [line for ticket in self.tickets() for line in self._author.alive(ticket, noted)]
        return sorted(set(found))

    def left(self) -> list[str]:
        """Return the files that are left, according to the author's probe."""
        return self._author.left(self.folder)

    def called(self, hook: str) -> list[Call]:
        """Return the calls of a hook."""
        return [call for call in self.stops.calls() if call.hook == hook and call.event == "called"]

    def job(self, dispatch_id: str) -> Any:
        """Return the row of the only job of a dispatch."""
        (row,) = Store(find_home()).get_jobs(dispatch_id)
        return row

    def node(self, dispatch_id: str, node_id: int = 0) -> dict[str, Any]:
        """Return all that is known of a node now."""
        return ct.get_result(dispatch_id).get_node_result(node_id)

    def cancelling(self, dispatch_id: str) -> dict[str, Any]:
        """Return what is known of a cancel that could not be confirmed yet."""
        return self.node(dispatch_id)["cancelling"] or {"error": None, "attempts": 0}

    def reused_handle(self, old: str, new: str) -> str:
        """Return a handle of before as it looks when its number has been given to a new job."""
        return self._author.reused_handle(old, new)

    # --- what another process can do -----------------------------------------------------------------------------

    def as_seen_by_another_process(self, dispatch_id: str) -> Job:
        """Return the only job of a dispatch with what the store knows of it."""
        row = self.job(dispatch_id)
        call = TaskCall(row.node_id, "", b"", b"")
        return Job(dispatch_id, row.ticket, row.attempt, (call,), location=row.location, job_handle=row.handle)

    def call(self, hook: str, job: Job, **arguments: Any) -> Any:
        """Call a hook of an executor that this process has made anew from what the store would keep of it."""
        return self._with_new_executor(lambda executor: executor.call(hook, job=job, **arguments))

    def start(self, job: Job) -> None:
        """Start a job as a dispatcher does, and return when it has ended."""

        async def provision_and_run(executor: BoundExecutor) -> None:
            handle = await executor.call("provision", job=job, location=job.location)
            await executor.call("run", job=job, location=job.location, job_handle=handle)

        before = set(children(os.getpid()))
        self._with_new_executor(provision_and_run)
        # What an executor keeps warm ends after it, and may leave files until then.
        self.until(lambda: not any(map(alive, set(children(os.getpid())) - before)))

    def _with_new_executor(self, use: Callable[[BoundExecutor], Awaitable[Any]]) -> Any:
        bound = BoundExecutor(create(describe(self.executor)))

        async def enter_and_use() -> Any:
            async with AsyncExitStack() as stack:
                if hasattr(bound.executor, "__aenter__"):
                    await stack.enter_async_context(bound.executor)

                with anyio.fail_after(self.patience):
                    return await use(bound)

        with warnings.catch_warnings():
            # A hook may start a process that outlives the object which started it.
            warnings.simplefilter("ignore", ResourceWarning)
            return anyio.run(enter_and_use)

    # --- what must be true ---------------------------------------------------------------------------------------

    def check_completed(self, result: Result, value: Any = "done") -> None:
        """The task has run once, its value is here, and nothing is left."""
        assert result.status == Status.COMPLETED, result.error
        assert result.result == value
        assert len(self.begun()) == 1, f"the task ran {len(self.begun())} times"
        self.check_nothing_left()

    def check_cancelled(self, result: Result, before: int) -> None:
        """Nothing is alive, nothing is left, and after the cancel no step began.

        Args:
            before: How many calls there were when the cancel had returned.
        """
        assert result.status == Status.CANCELLED, f"{result.status}: {result.error}"
        assert result.get_node_result(0)["status"] == Status.CANCELLED
        assert len(self.begun()) <= 1, f"the task ran {len(self.begun())} times"
        late = [call.hook for call in self.stops.calls()[before:] if call.event == "called"]
        assert set(late) <= set(AFTER_A_CANCEL), f"called after the cancel was on disk: {late}"
        self.check_nothing_left()

    def check_nothing_left(self) -> None:
        """Nothing lives at the backend, no file of a job is left, and each job was released once."""
        assert self.alive() == [], "alive after the end"
        assert self.left() == [], "files after the end"

        for dispatch in ct.list_dispatches():
            for row in Store(find_home()).get_jobs(dispatch.dispatch_id):
                assert row.error is None, row.error

        for ticket in self.tickets():
            self._check_calls([call for call in self.stops.calls() if call.ticket == ticket])

    def _check_calls(self, calls: list[Call]) -> None:
        """A job is released once, and compute is asked for again only where the backend did not know the ticket."""
        called = [call.hook for call in calls if call.event == "called"]
        failed = [call for call in calls if (call.hook, call.event) == ("release", "raised")]
        not_found = [call for call in calls if (call.hook, call.event, call.answer) == ("find", "returned", None)]

        assert called.count("release") == 1 + len(failed) or "upload" not in called, called
        assert called.count("release") <= 1 + len(failed), called
        assert called.count("provision") <= 1 + len(not_found), called
