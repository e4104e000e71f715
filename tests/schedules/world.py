"""One dispatch from its beginning to its end, in a world whose time, crashes and races are those of a schedule.

The dispatcher is the real one, in this process, on a real store; what is not real is the clock, which jumps to the next
moment at which something happens, and the backend. Wherever the dispatcher commits or calls a hook, and whenever the
clock moves, there is a point at which the schedule may do something: give a cancel order, kill the dispatcher, tell it
to end. Nothing of a dispatcher that has been killed touches the world any more: its commits and calls raise instead.
"""

from __future__ import annotations

import asyncio
import json
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
from cases import ANYWHERE, Cancel, Case, Kill, Tell, Vertex
from model import Model, Plan, Violation, must
from model import Node as Seen
from simulated import ABORTS, ENDS_IT, FAILS, SLOW, USUAL, Backend, SimulatedExecutor

from covalent_core import Job
from covalent_core._client import spawn
from covalent_core._dispatch import attempts, compute, dispatcher, graph, members, shared, stalls, steps, walk
from covalent_core._dispatch.serving import serve
from covalent_core._executors.bound import BoundExecutor
from covalent_core._home import Home
from covalent_core._model.cancellation import CancelRequest
from covalent_core._model.exchange import to_json
from covalent_core._model.graph import ExecutorSpec, Node, Role, TransportGraph
from covalent_core._model.job import TaskCall
from covalent_core._store import database
from covalent_core._store.orders import request_cancel
from covalent_core._store.rows import NewDispatch
from covalent_core._store.store import Store
from covalent_core.errors import SublatticeNodeError

#: A world in which nothing has been ordered for so long hangs: it is cancelled, if it may hang at all.
QUIET = 300.0
#: So long may take a dispatcher that has been killed to find that it is dead.
DEATH = 10.0
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
        self._vertices: list[Vertex] = []
        #: By the number of the node that has it, None for the root: the number of the first of a graph's nodes.
        self._firsts: dict[int | None, int] = {}
        self._count(None, case.graph)
        self._odd = Counter((node % len(self._vertices), oddity) for node, oddity in case.oddities)
        failures = sum(count for (_, oddity), count in self._odd.items() if oddity.startswith("release"))
        self._released_in_the_end = failures < steps.RELEASES
        self._left, self._passed, self._last = deque(case.schedule), 0, 0.0
        self._reader = sqlite3.connect(home.database, isolation_level=None)
        self._may_hang = any(oddity in HANGS for _, oddity in self._odd)
        self._nested = len(self._firsts) > 1
        self._packs = case.pack is not None or any(vertex.role == "operation" for vertex in self._vertices)
        self._numbers: dict[str, list[int]] = {}
        #: By dispatch: what may happen to it, and the number of the first of its nodes; the root is the first.
        self.models: dict[str, Model] = {}
        self._first: dict[str, int] = {}

    def _count(self, owner: int | None, graph: tuple[Vertex, ...]) -> None:
        """Number the nodes of all graphs; oddities, and the names of nodes, are such numbers."""
        first = self._firsts[owner] = len(self._vertices)
        self._vertices += graph

        for number, vertex in enumerate(graph, first):
            if vertex.graph:
                self._count(number, vertex.graph)

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
        self.dispatch_id = self.store.add_dispatch(NewDispatch(self._graph(None, self.case.graph), "test"))
        self.model = self._add_model(self.dispatch_id, None)

        while self.model.end is None:
            self._live()

        # What was still to come comes too late.
        for _, _, event in self._left:
            if isinstance(event, Cancel):
                self._cancel(event)

        self._check_end()

    def _graph(self, owner: int | None, graph: tuple[Vertex, ...]) -> TransportGraph:
        options = {"max_workers": self.case.max_workers, "pack": self.case.pack}
        text = json.dumps({name: value for name, value in options.items() if value is not None})
        spec = ExecutorSpec("simulated_members" if self.case.ends_members else "simulated", text)
        here = ExecutorSpec(spec.name)
        edges = {(source, target) for target, vertex in enumerate(graph) for source in vertex.sources}
        nodes = []

        for place, vertex in enumerate(graph):
            node = Node(place, str(self._firsts[owner] + place), Role(vertex.role), 0, call=b"call")
            node.executor = here if vertex.role == "operation" else spec
            node.options = json.dumps({"retries": vertex.retries, "retry_delay": vertex.delay})
            nodes.append(node)

        settings = {"timeout": None, "pack": None}
        return TransportGraph(
            "workflow", spec, nodes=nodes, functions=[b"function"], edges=edges, result=b"result", settings=settings
        )

    def _add_model(self, dispatch_id: str, owner: int | None) -> Model:
        first = self._first[dispatch_id] = self._firsts[owner]
        graph = self.case.graph if owner is None else self._vertices[owner].graph
        plans = {place: self._plan(first + place, vertex) for place, vertex in enumerate(graph)}
        self.models[dispatch_id] = Model(plans, ends_members=self.case.ends_members)
        return self.models[dispatch_id]

    def _plan(self, number: int, vertex: Vertex) -> Plan:
        drawn = {oddity for node, oddity in self.case.oddities if node % len(self._vertices) == number}
        may = [bool(drawn & kind) for kind in (set(FAILS), set(ENDS_IT), set(ABORTS))]
        return Plan(frozenset(vertex.sources), vertex.role, vertex.retries, vertex.delay, *may)

    def output(self, task: TaskCall) -> bytes:
        """Return what a node comes to: for a sublattice, a graph."""
        vertex = self._vertices[int(task.name)]

        if vertex.role != "sublattice":
            return b"output"

        return b"no graph" if self.odd_task(task, "no graph") else to_json(self._graph(int(task.name), vertex.graph))

    def _live(self) -> None:
        """Let one dispatcher live, and the next point be one at which there is none."""
        self.generations += 1

        try:
            serve(self.home)
        except asyncio.CancelledError as error:
            must(self._killed_at is not None, "a dispatcher that is alive and told to end raises {!r}", error)
        except BaseException:
            if self._killed_at is None:
                raise

        if self.violation is not None:
            raise self.violation

        if self._killed_at is not None:
            self.clock, self._killed_at = self._killed_at, None

        for model in self.models.values():
            model.restarts += 1

        with suppress(Killed):
            self.point("nobody lives")

        self._killed_at = None

        if self.violation is not None:
            raise self.violation

    def _check_end(self) -> None:
        self.look()
        self.model.ended()
        released = self._released_in_the_end and not any(model.forced for model in self.models.values())
        must(not (released and self.backend.files), "files are left of {}", self.backend.files)
        query = "SELECT node_id, status FROM status_changes WHERE dispatch_id = ? AND node_id IS NOT NULL ORDER BY id"

        for dispatch_id, model in self.models.items():
            trail: dict[int, list[str]] = {node: [] for node in model.trail}

            for node, status in self._reader.execute(query, (dispatch_id,)):
                trail[node].append(status)

            must(trail == model.trail, "the store says {}, seen was {}", trail, model.trail)

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
        self.look()
        dispatch_id, model = list(self.models.items())[event.dispatch % len(self.models)]
        named = None if event.nodes is None else sorted({node % len(model.plans) for node in event.nodes})

        try:
            outcome = request_cancel(
                self.store, dispatch_id, named, CancelRequest("because", "test", force=event.force)
            )
        except SublatticeNodeError:
            must(named is not None and model is not self.model, "a cancel is refused")
        else:
            must(named is None or model is self.model, "a node of a sublattice is cancelled from outside")
            stopped = {t.node_id for t in outcome.targets if t.stopped}
            model.cancelled(named, bool(outcome), stopped, force=event.force)

        self.look()

        if event.rings:
            spawn.ring(self.home)

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
            nodes = [model.nodes for model in self.models.values()]
            self.checked(must, self._may_hang and not self.model.whole, "nothing happens: {}", nodes)
            # What no cancel can end must not hang.
            self._may_hang = False
            self.checked(self._cancel, Cancel())

        self.clock += seconds or 1.0

        # Nothing keeps the dead alive, not even a shield.
        if self._killed_at is not None and self.clock > self._killed_at + DEATH:
            self.clock = self._killed_at
            raise Killed

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
        """Show the models what is in the store and alive."""
        if self._nested:
            self._adopt()

        runs = self.backend.runs(self.now)
        seen = {dispatch_id: (*self._read(dispatch_id), dict(runs[dispatch_id])) for dispatch_id in self.models}

        if seen == self._seen:
            return

        self._seen = seen
        self._count_workers()

        # A sublattice ends before its node does.
        for dispatch_id, model in reversed(self.models.items()):
            model.saw(*seen[dispatch_id], self.now)

    def _adopt(self) -> None:
        """Look for dispatches that have been added."""
        for parent_id, parent in list(self.models.items()):
            query = "SELECT dispatch_id, parent_node_id FROM dispatches WHERE parent_dispatch_id = ?"

            for dispatch_id, node in self._reader.execute(query, (parent_id,)):
                if dispatch_id not in self.models:
                    parent.adopted(node, self._add_model(dispatch_id, self._first[parent_id] + node))

    def _read(self, dispatch_id: str) -> tuple[Any, ...]:
        query = "SELECT node_id, status, ifnull(error, ''), attempt FROM nodes WHERE dispatch_id = ?"
        nodes = {row[0]: Seen(*row[1:]) for row in self._reader.execute(query, (dispatch_id,))}
        query = "SELECT status, ended FROM dispatches WHERE dispatch_id = ?"
        (dispatch,) = self._reader.execute(query, (dispatch_id,))
        jobs: dict[str, list[int]] = {}

        if self._packs:
            query = (
                "SELECT ticket, node_id FROM job_nodes JOIN jobs USING (ticket) WHERE dispatch_id = ? ORDER BY place"
            )

            for ticket, node in self._reader.execute(query, (dispatch_id,)):
                jobs.setdefault(ticket, []).append(node)

        return dispatch, nodes, jobs

    def _count_workers(self) -> None:
        # Jobs that a dispatcher takes up from another are not made to wait, and none waits for one that was given up.
        if self.case.max_workers and self.generations == 1 and not any(m.given_up for m in self.models.values()):
            busy = [s for s in self.backend.submissions if s.limited and "alive" in s.ran(self.now).values()]
            must(
                len(busy) <= self.case.max_workers, "{} jobs at once, max_workers {}", len(busy), self.case.max_workers
            )

    def called(self, hook: str, job: Job) -> None:
        """A hook is called: show it to the model, then let the schedule go on."""
        if self._killed_at is not None:
            raise Killed

        names = ("payload", "location", "handle", "released")
        query = f"SELECT {', '.join(names)} FROM jobs WHERE ticket = ?"
        row = self._reader.execute(query, (job.ticket,)).fetchone()
        stored = dict(zip(names, row, strict=True)) if row else {}
        self._numbers[job.ticket] = [int(task.name) for task in job.tasks]
        self.checked(self.models[job.dispatch_id].called, hook, job.ticket, job.node_ids, stored)
        self.point(f"{hook} is called")

    def release_failed(self, job: Job) -> None:
        """A release has not come to its end, though its dispatcher lives."""
        if self._killed_at is None:
            self.models[job.dispatch_id].release_failed(job.ticket)

    def interrupted(self, job: Job, since: float) -> None:
        """The call of `provision` that began at `since` has been interrupted: only its time limit may do that."""
        self.checked(must, self._killed_at is not None or self.now - since > USUAL + SLOW, "{} interrupted", job.ticket)

    def odd(self, job: Job, oddity: str) -> bool:
        """Whether something is odd about this job; if so, once less from now on."""
        return any(self.odd_task(task, oddity) for task in job.tasks)

    def odd_task(self, task: TaskCall, oddity: str) -> bool:
        """Whether something is odd about this node; if so, once less from now on."""
        left = self._odd[int(task.name), oddity]
        self._odd[int(task.name), oddity] -= left > 0
        return left > 0

    # --- the seams -----------------------------------------------------------------------------------------------

    @contextmanager
    def commit(self, transaction: Any) -> Iterator[Any]:
        """A transaction of the dispatcher."""
        self.point("before a commit")

        with transaction as cursor:
            yield cursor

        self.checked(self.look)
        self.point("after a commit")

    def sublattice(self, add: Callable[..., Any], *arguments: Any) -> Any:
        """A transaction of the dispatcher that adds a sublattice."""
        self.point("before a sublattice")
        child = add(self.store, *arguments)
        self.checked(self.look)
        self.point("after a sublattice")
        return child

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
    run, write, add = anyio.run, database.Database.write_raw, Store.add_sublattice

    async def run_here(function: Callable[..., Any], *arguments: Any, **_: object) -> Any:
        await anyio.lowlevel.checkpoint()
        result = function(*arguments)
        await anyio.lowlevel.checkpoint()
        return result

    anyio.run = lambda main, **_: run(SimulatedExecutor.world.live, main, backend_options={"loop_factory": _Loop})
    anyio.to_thread.run_sync = run_here
    database.Database.write_raw = lambda *arguments: SimulatedExecutor.world.commit(write(*arguments))
    Store.add_sublattice = lambda _, *arguments: SimulatedExecutor.world.sublattice(add, *arguments)
    # What waits is waited for by the clock of the world.
    walk.now = graph.now = lambda: SimulatedExecutor.world.clock
    # A dispatcher that has been killed leaves connections; to open a store anew would be most of what a case costs.
    database.create_engine = partial(database.create_engine, pool_size=0)
    dispatcher.Store = lambda home: SimulatedExecutor.world.store
    shared.create, shared.BoundExecutor = cache(shared.create), cache(BoundExecutor)
    # Found out by every dispatcher, and the same for all.
    Home.create, signal.valid_signals = cache(Home.create), cache(signal.valid_signals)
    # Nothing here blocks the loop, and a thread to watch it would cost as much as a tenth of a world.
    stalls.Stalls.run = lambda _: anyio.sleep_forever()
    # Rarer looks: each is a turn of the loop, and most of these worlds end before the first.
    seconds = {
        (dispatcher, "POLL_SECONDS"): 50.0,
        (members, "THREAD_SECONDS"): 50.0,
        (compute, "PROVISION_SECONDS"): 20.0,
        (compute, "ATTEMPT_SECONDS"): 10.0,
        (steps, "ATTEMPT_SECONDS"): 10.0,
        (attempts, "ATTEMPT_SECONDS"): 10.0,
    }

    for (module, name), limit in seconds.items():
        assert hasattr(module, name)
        setattr(module, name, limit)
