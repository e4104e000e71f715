"""The dispatcher: one process per store, which takes up every dispatch that has not ended and walks it to its end."""

from __future__ import annotations

import logging
import os
import signal
import stat
from contextlib import suppress
from math import inf
from typing import IO

import anyio
from anyio import create_task_group, move_on_after, open_signal_receiver, to_thread, wait_readable

from covalent_core._dispatch.shared import SharedExecutor
from covalent_core._dispatch.stalls import Stalls
from covalent_core._dispatch.walk import Walk
from covalent_core._home import Home
from covalent_core._model.cancellation import CancelRequest
from covalent_core._model.graph import ExecutorSpec
from covalent_core._store.database import is_broken, is_transient, now
from covalent_core._store.journal import Journal
from covalent_core._store.orders import request_cancel
from covalent_core._store.reading import Reading
from covalent_core._store.schedules import Schedules
from covalent_core._store.store import Store
from covalent_core.backend.results import sweep_results

log = logging.getLogger(__name__)

#: How often the store is looked at without being asked to; the bell makes it sooner.
POLL_SECONDS = 0.5


class Dispatcher:
    """Walks the dispatches of one store. There is at most one per store at any time."""

    def __init__(self, home: Home, *, idle_seconds: float | None = None) -> None:
        """Prepare, for whoever holds the lock of `home`; nothing is touched before `run`.

        Args:
            idle_seconds: End after so long without a dispatch. None: never.
        """
        #: Whether it has ended because it was told to, by SIGTERM or SIGINT.
        self.told_to_end = False
        self._home = home
        self._idle_seconds = idle_seconds
        self._walks: dict[str, Walk] = {}
        self._executors: dict[ExecutorSpec, SharedExecutor] = {}
        self._last_order = 0
        self._tick_problem = ""

    def run(self) -> None:
        """Walk what there is to walk until idle for long enough, or told to end.

        Raises:
            StoreError: The store cannot be used where it is.
        """
        # Turns of the event loop are most of what a dispatcher does, and uvloop's are cheaper.
        anyio.run(self._run, backend_options={"use_uvloop": True})

    def has_work(self) -> bool:
        """Return whether there is a dispatch that has not ended, or may be one by a schedule."""
        store = Store(self._home)
        return store.has_unfinished() or Reading(store).next_tick() is not None

    async def _run(self) -> None:
        self._journal = Journal(Store(self._home))
        self._journal.on_order = self._on_order
        self._last_order = self._journal.last_order()
        sweep_results(self._journal.open_tickets())

        async with create_task_group() as self._tasks:
            self._tasks.start_soon(self._journal.run, name="journal")
            self._tasks.start_soon(self._end_when_told, name="signals")
            self._tasks.start_soon(Stalls(self._journal).run, name="stalls")
            self._tasks.start_soon(self._run_until_idle, name="watch")

    async def _run_until_idle(self) -> None:
        with open_bell(self._home) as self._bell:
            await self._watch(self._bell)

        for shared in self._executors.values():
            shared.close()

        self._tasks.cancel_scope.cancel()

    async def _watch(self, bell: IO[bytes]) -> None:
        busy_until = now()

        while True:
            next_tick = await self._tick()
            next_start = min(await self._take_up_what_may_start(), next_tick)

            self._journal.look_for_orders()
            await self._journal.store_progress()
            await self._cancel_what_is_late()

            if self._walks or next_start < inf:
                busy_until = now()
            elif self._idle_seconds is not None and now() - busy_until >= self._idle_seconds:
                return

            with move_on_after(min(POLL_SECONDS, self._seconds_left(), max(0.0, next_start - now()))):
                await wait_readable(bell)

            with suppress(BlockingIOError):
                os.read(bell.fileno(), 65536)

    async def _tick(self) -> float:
        """Make the dispatches that schedules are due for; return when to look again, `inf` where there is none."""
        try:
            if (due := self._journal.next_tick()) is not None and due <= now():
                await to_thread.run_sync(Schedules(self._journal.store).tick)
                self._journal.look_for_orders()
                due = self._journal.next_tick()
        except Exception as error:
            if is_broken(error):
                raise

            # It is tried again with each look; to say it once is enough.
            if str(error) != self._tick_problem:
                self._tick_problem = str(error)
                log.exception("what is due of the schedules could not be started; it is tried again")

            return now() + POLL_SECONDS

        return inf if due is None else max(due, now() + POLL_SECONDS if due == 0 else 0.0)

    async def _take_up_what_may_start(self) -> float:
        """Return when the next of those may start that may not yet; `inf` where there is none."""
        next_start = inf

        for dispatch_id, not_before in self._journal.unfinished():
            if not_before > now():
                next_start = min(next_start, not_before)
            elif dispatch_id not in self._walks:
                await self._take_up(dispatch_id)

        return next_start

    async def _take_up(self, dispatch_id: str) -> None:
        try:
            stored = self._journal.load(dispatch_id)
            walk = Walk(stored, self._journal, self._tasks, self._shared, self._forget, self._ring)
        except Exception as error:
            if is_transient(error) or is_broken(error):
                raise

            await self._refuse(dispatch_id, error)
            return

        self._walks[dispatch_id] = walk
        await walk.start()

    async def _refuse(self, dispatch_id: str, error: Exception) -> None:
        """End a dispatch that cannot be walked at all; what it may have at a backend is named in its error."""
        handles = {row.handle for row in self._journal.store.get_jobs(dispatch_id) if row.handle and not row.released}
        alive = f"; its jobs may be alive: {', '.join(sorted(handles))}" if handles else ""
        failure = f"the dispatcher cannot take it up: {type(error).__name__}: {error}{alive}"
        log.error("dispatch %s: %s", dispatch_id, failure, exc_info=error)
        await self._journal.fail_dispatch(dispatch_id, failure)
        row = self._journal.get_dispatch(dispatch_id)
        self._tell(row.parent_dispatch_id, row.parent_node_id)

    def _ring(self) -> None:
        """Look for new dispatches at once: there is one that this process itself has stored."""
        # A bell that is full has been heard of already.
        with suppress(BlockingIOError):
            os.write(self._bell.fileno(), b"!")

    def _forget(self, walk: Walk) -> None:
        self._walks.pop(walk.dispatch_id, None)
        self._tell(*walk.parent)

    def _tell(self, parent: str | None, node_id: int | None) -> None:
        """Tell the dispatch that has a sublattice at this node that the sublattice has ended."""
        if node_id is not None and parent in self._walks:
            self._walks[parent].sublattice_ended(node_id)

    def _seconds_left(self) -> float:
        """Return how long it is until the next dispatch has taken too long."""
        return max(0.0, min((walk.deadline for walk in self._walks.values() if walk.deadline), default=inf) - now())

    async def _cancel_what_is_late(self) -> None:
        for walk in [walk for walk in self._walks.values() if walk.deadline and walk.deadline <= now()]:
            walk.deadline = None
            reason = f"timed out after {walk.timeout:g} s"

            with walk.walled("cancelling it because it has timed out"):
                request = CancelRequest(reason, "timeout")
                await to_thread.run_sync(request_cancel, self._journal.store, walk.dispatch_id, None, request)

            self._journal.look_for_orders()

    def _shared(self, spec: ExecutorSpec) -> SharedExecutor:
        if spec not in self._executors:
            self._executors[spec] = SharedExecutor(spec, self._tasks)

        return self._executors[spec]

    def _on_order(self) -> None:
        """Stop what the new cancel orders name, at once: whoever looked for orders goes on only after this."""
        for order in self._journal.orders_since(self._last_order):
            self._last_order = order.id

            # A sublattice that nobody has taken up yet may have been ended by the order alone.
            for dispatch_id in (order.dispatch_id, order.parent_dispatch_id):
                if dispatch_id in self._walks:
                    self._walks[dispatch_id].look_again()

    async def _end_when_told(self) -> None:
        with open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for signum in signals:
                log.info("ending on %s; what runs goes on and is taken up by the next dispatcher", signum.name)
                self.told_to_end = True
                self._tasks.cancel_scope.cancel()


def open_bell(home: Home) -> IO[bytes]:
    """Return the reading end of the bell: a named pipe that only the user can ring.

    A pipe rather than a socket: its path may have any length.
    """
    with suppress(FileExistsError):
        os.mkfifo(home.bell, 0o600)

    if not stat.S_ISFIFO(home.bell.stat().st_mode):
        home.bell.unlink()
        os.mkfifo(home.bell, 0o600)

    # Open for writing too, or it would be at its end whenever no client has it open.
    return open(os.open(home.bell, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
