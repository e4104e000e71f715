"""One dispatch from its beginning to its end, in a world whose time, crashes and races are those of a schedule.

The dispatcher is the real one, in this process, on a real store; what is not real is the clock, which jumps to the next
moment at which something happens, and the backend. Wherever the dispatcher commits or calls a hook, and whenever the
clock moves, there is a point at which the schedule may do something: give a cancel order, kill the dispatcher, tell it
to end. Nothing of a dispatcher that has been killed touches the world any more: its commits and calls raise instead.
"""

from __future__ import annotations

import asyncio
import selectors
import signal
import sqlite3
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio
from cases import ANYWHERE, Cancel, Case, Kill, Tell
from model import Model, Violation, must
from simulated import ABORTS, ENDS_IT, FAILS, SLOW, USUAL, Backend, SimulatedExecutor

from covalent_core import Job, _attempts, _database, _dispatcher, _shared, _spawn, _steps
from covalent_core._dispatcher import Dispatcher
from covalent_core._graph import ExecutorSpec, Node, TransportGraph
from covalent_core._home import Home
from covalent_core._hooks import BoundExecutor
from covalent_core._orders import request_cancel
from covalent_core._store import NewDispatch, Store

#: A world in which nothing has been ordered for so long hangs: it is cancelled, if it may hang at all.
QUIET = 300.0
LIMITS = {"PROVISION_SECONDS": 20.0, "ATTEMPT_SECONDS": 10.0}
#: A place that is not come to any more is waited for no longer than for so many points.
PATIENCE = 50
#: What never ends by itself.
HANGS = {"upload hangs", "run hangs", "fetch hangs", "task hangs"}


class Killed(BaseException):
    """What a dispatcher that has been killed gets instead of an answer."""


class World:
    """One case."""

    def __init__(self, case: Case, home: Home, store: Store, results: Path) -> None:
        self.case, self.home, self.store, self.results = case, home, store, results
        self.backend = Backend()
        self.clock, self.generations = 0.0, 0
        self._seen: object = None
        self.violation: Violation | None = None
        self._killed_at: float | None = None
        self._kill = asyncio.Event()
        self._odd = Counter((node % len(case.sources), oddity) for node, oddity in case.oddities)
        self._left, self._passed, self._last = deque(case.schedule), 0, 0.0
        self._reader = sqlite3.connect(home.database, isolation_level=None)
        fails = {node for node, oddity in self._odd if oddity in (*ENDS_IT, *FAILS)}
        aborts = {node for node, oddity in self._odd if oddity in ABORTS}
        self._may_hang = any(oddity in HANGS for _, oddity in self._odd)
        self.model = Model({n: set(sources) for n, sources in enumerate(case.sources)}, fails, aborts)

    @property
    def now(self) -> float:
        return self.clock if self._killed_at is None else self._killed_at

    # --- from the beginning to the end ---------------------------------------------------------------------------

    def play(self) -> None:
        """Carry out the case.

        Raises:
            Violation: The contract has been broken.
        """
        SimulatedExecutor.world = self
        self.dispatch_id = self.store.add_dispatch(NewDispatch(self._graph(), "test"))

        while self.model.end is None:
            self._live()

        # What was still to come comes too late.
        for _, _, event in self._left:
            if isinstance(event, Cancel):
                self._cancel(event)

        self._check_end()

    def _graph(self) -> TransportGraph:
        options = "{}" if self.case.max_workers is None else f'{{"max_workers": {self.case.max_workers}}}'
        spec = ExecutorSpec("simulated", options)
        nodes = [Node(n, "task", function=0, call=b"call", executor=spec) for n in range(len(self.case.sources))]
        edges = {(source, target) for target, sources in enumerate(self.case.sources) for source in sources}
        return TransportGraph("workflow", spec, nodes=nodes, functions=[b"function"], edges=edges, result=b"result")

    def _live(self) -> None:
        """Let one dispatcher live, and the next point be one at which there is none."""
        self.generations += 1

        try:
            Dispatcher(self.home).serve()
        except BaseException:
            if self._killed_at is None:
                raise

        if self.violation is not None:
            raise self.violation

        if self._killed_at is not None:
            self.clock, self._killed_at = self._killed_at, None

        self.model.restarts += 1

        with suppress(Killed):
            self.point("nobody lives")

        self._killed_at = None

        if self.violation is not None:
            raise self.violation

    def _check_end(self) -> None:
        self.look()
        self.model.ended()
        unreleased = {job for job in self.backend.files if not self._released_badly(job)}
        must(not unreleased, f"files are left of {unreleased}")
        query = "SELECT node_id, status FROM status_changes WHERE dispatch_id = ? AND node_id IS NOT NULL ORDER BY id"
        trail: dict[int, list[str]] = {node: [] for node in self.model.trail}

        for node, status in self._reader.execute(query, (self.dispatch_id,)):
            trail[node].append(status)

        must(trail == self.model.trail, f"the store says {trail}, seen was {self.model.trail}")

    def _released_badly(self, ticket: str) -> bool:
        return any(
            oddity.startswith("release") and f"-{node % len(self.case.sources)}-" in ticket
            for node, oddity in self.case.oddities
        )

    # --- points --------------------------------------------------------------------------------------------------

    def point(self, place: str) -> None:
        """Let the schedule do what it does here; raise if the dispatcher is dead or dies of it."""
        if self._killed_at is None:
            self._passed += 1

            while self._killed_at is None and self._is_next(place):
                self._passed, self._last = 0, self.clock
                self._happen(self._left.popleft()[2])

        if self._killed_at is not None:
            raise Killed

    def _is_next(self, place: str) -> bool:
        if not self._left:
            return False

        points, wanted, _ = self._left[0]
        return self._passed >= points and (wanted in (ANYWHERE, place) or self._passed >= points + PATIENCE)

    def _happen(self, event: Cancel | Kill | Tell) -> None:
        if isinstance(event, Cancel):
            self.checked(self._cancel, event)
        elif isinstance(event, Kill):
            self.kill()
        else:
            self._tell()

    def _tell(self) -> None:
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            signal.raise_signal(signal.SIGTERM)

    def _cancel(self, event: Cancel) -> None:
        size = len(self.case.sources)
        named = None if event.nodes is None else [node % size for node in event.nodes]
        outcome = request_cancel(self.store, self.dispatch_id, named, "because", "test")
        self.model.cancelled(named, bool(outcome), {t.node_id for t in outcome.targets if t.stopped})
        self.look()

        if event.rings:
            _spawn.ring(self.home)

    def kill(self) -> None:
        """From here on the dispatcher is dead."""
        self._killed_at = self._killed_at or self.clock
        self._kill.set()

    async def _die_when_killed(self) -> None:
        await self._kill.wait()
        raise Killed

    def tick(self, seconds: float | None) -> None:
        """Nothing is left to be done now: go on to when there is."""
        if self.model.end is not None:
            self._tell()
        elif not self._left and self.clock - self._last > QUIET and self._killed_at is None:
            self._last = self.clock
            self.checked(must, self._may_hang and not self.model.whole, f"nothing happens: {self.model.nodes}")
            self.checked(self._cancel, Cancel())

        self.clock += seconds or 1.0

        with suppress(Killed):
            self.point("nothing to do")

    # --- what is seen --------------------------------------------------------------------------------------------

    def checked(self, check: Callable[..., None], *arguments: Any) -> None:
        """Call what may find a violation; if it does, that is the end of the world."""
        try:
            check(*arguments)
        except Violation as violation:
            self.violation = self.violation or violation
            self.kill()

    def look(self) -> None:
        """Show the model what is in the store and alive."""
        query = "SELECT node_id, status, ifnull(error, '') FROM nodes WHERE dispatch_id = ?"
        nodes = {row[0]: row[1:] for row in self._reader.execute(query, (self.dispatch_id,))}
        query = "SELECT status, ended FROM dispatches WHERE dispatch_id = ?"
        (dispatch,) = self._reader.execute(query, (self.dispatch_id,))
        runs = self.backend.runs(self.now)

        if (dispatch, nodes, runs) == self._seen:
            return

        self._seen = dispatch, nodes, runs
        self._count_workers(sum("alive" in ran for ran in runs.values()))
        self.model.saw(dispatch, nodes, runs)

    def _count_workers(self, busy: int) -> None:
        # Jobs that a dispatcher takes up from another are not made to wait.
        if self.case.max_workers and self.generations == 1:
            must(busy <= self.case.max_workers, f"{busy} jobs at once, max_workers is {self.case.max_workers}")

    def called(self, hook: str, job: Job) -> None:
        """A hook is called: show it to the model, then let the schedule go on."""
        if self._killed_at is not None:
            raise Killed

        names = ("payload", "location", "handle", "released")
        query = f"SELECT {', '.join(names)} FROM jobs WHERE ticket = ?"
        row = self._reader.execute(query, (job.ticket,)).fetchone()
        stored = dict(zip(names, row, strict=True)) if row else {}
        self.checked(self.model.called, hook, job.ticket, job.node_ids, stored)
        self.point(f"{hook} is called")

    def interrupted(self, job: Job, since: float) -> None:
        """The call of `provision` that began at `since` has been interrupted: only its time limit may do that."""
        self.checked(must, self._killed_at is not None or self.now - since > USUAL + SLOW, f"{job.ticket} interrupted")

    def odd(self, job: Job, oddity: str) -> bool:
        """Whether something is odd about this job; if so, once less from now on."""
        for node in job.node_ids:
            if self._odd[node, oddity]:
                self._odd[node, oddity] -= 1
                return True

        return False

    # --- the seams -----------------------------------------------------------------------------------------------

    @contextmanager
    def commit(self, transaction: Any) -> Iterator[Any]:
        """A transaction of the dispatcher."""
        self.point("before a commit")

        with transaction as cursor:
            yield cursor

        self.checked(self.look)
        self.point("after a commit")

    async def live(self, dispatcher: Callable[..., Awaitable[None]]) -> None:
        self._kill = asyncio.Event()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._die_when_killed)
            await dispatcher()
            tasks.cancel_scope.cancel()


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)

        if not ready and timeout != 0:
            SimulatedExecutor.world.tick(timeout)

        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return SimulatedExecutor.world.clock


def enter() -> None:
    """Let all dispatchers of this process live in the current world."""
    run, write = anyio.run, _database.Database.write_raw

    async def run_here(function: Callable[..., Any], *arguments: Any, **_: object) -> Any:
        await anyio.lowlevel.checkpoint()
        result = function(*arguments)
        await anyio.lowlevel.checkpoint()
        return result

    anyio.run = lambda main, **_: run(SimulatedExecutor.world.live, main, backend_options={"loop_factory": _Loop})
    anyio.to_thread.run_sync = run_here
    _database.Database.write_raw = lambda *arguments: SimulatedExecutor.world.commit(write(*arguments))
    # A dispatcher that has been killed leaves connections; to open a store anew would be most of what a case costs.
    _database.create_engine = partial(_database.create_engine, pool_size=0)
    _dispatcher.Store = lambda home: SimulatedExecutor.world.store
    _shared.create, _shared.BoundExecutor = cache(_shared.create), cache(BoundExecutor)
    # Rarer looks: each is a turn of the loop, and most of these worlds end before the first.
    seconds = {
        (_dispatcher, "POLL_SECONDS"): 50.0,
        (_steps, "PROVISION_SECONDS"): 20.0,
        (_steps, "ATTEMPT_SECONDS"): 10.0,
        (_attempts, "ATTEMPT_SECONDS"): 10.0,
    }

    for (module, name), limit in seconds.items():
        assert hasattr(module, name)
        setattr(module, name, limit)
