"""The dispatcher's side of the store: what it resumes from, and its transitions, committed together.

All transitions that come up while a transaction is being written are committed with the next one: durability costs
one commit per turn, not one per task. None waits for others to come. Each transaction also reads which cancel orders
came before it, so a transition that a cancel has overtaken is never taken for the winner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anyio import CancelScope, Event, get_cancelled_exc_class, sleep, to_thread

from covalent_core._model.status import Status
from covalent_core._store import transitions
from covalent_core._store.database import BUSY_SECONDS, is_broken, is_transient, now
from covalent_core._store.prepared import Prepared
from covalent_core._store.reading import LAST_ORDER, Reading
from covalent_core._store.schema import encode
from covalent_core._store.store import Store
from covalent_core._store.transitions import NodeEnd, Requeue, Write, node_key

log = logging.getLogger(__name__)

#: How long the event loop may stand still for another process that is writing.
SHORT_SECONDS = 0.005


def _attempt_row(dispatch_id: str, node: Requeue) -> dict[str, Any]:
    assert node.failed is not None
    written = {"b_stdout": node.failed.stdout or "", "b_stderr": node.failed.stderr or ""}
    return {**node.failed.as_row(dispatch_id), **written, "b_attempt": node.attempt - 1}


@dataclass
class _Entry:
    """What one caller wants written, all of it or nothing.

    Attributes:
        error: Why the store does not take it, if it does not.
    """

    writes: tuple[Write, ...]
    error: Exception | None = None


class Journal(Reading):
    """Reads for the dispatcher, and writes that return when they are on disk."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.on_order: Callable[[], None] = lambda: None
        self._waiting: list[_Entry] = []
        self._written = Event()
        self._queued = Event()
        self._closed = False
        self._progress: dict[str, str] = {}
        self._outputs: dict[tuple[str, int], tuple[str, str]] = {}
        self._waits: dict[str, str] = {}
        self._new_waits: dict[str, str] = {}
        self._usages: dict[str, str] = {}
        self._seen_order = -1
        # A connection of its own, and past SQLAlchemy: under load its share would be half of the dispatcher's work.
        self._writer = store.database.engine.raw_connection()

    # --- cancel orders ------------------------------------------------------------------------------------------------

    def look_for_orders(self) -> None:
        """Call `on_order` if there is a cancel order that was not there before."""
        self._notice(self.last_order())

    def _notice(self, last_order: int) -> None:
        if last_order != self._seen_order:
            self._seen_order = last_order
            self.on_order()

    # --- writing -------------------------------------------------------------------------------------------------

    async def start_dispatch(self, dispatch_id: str) -> None:
        """A dispatcher has taken up a dispatch."""
        await self._write(
            (
                transitions.START_DISPATCH,
                {"b_dispatch": dispatch_id, "b_started": now(), "b_status": Status.RUNNING.value},
            )
        )

    async def end_dispatch(self, dispatch_id: str, status: Status) -> None:
        """All nodes of a dispatch have ended and all its jobs are released."""
        await self._write(
            (transitions.END_DISPATCH, {"b_dispatch": dispatch_id, "b_status": status.value, "b_ended": now()})
        )

    async def fail_dispatch(self, dispatch_id: str, error: str) -> None:
        """A dispatch cannot be walked to its end: that is the end of it, and of its nodes that have none."""
        row = {"b_dispatch": dispatch_id, "b_error": error, "b_ended": now()}
        ends = (transitions.FAIL_NODES, transitions.PREVENT_NODES, transitions.FAIL_DISPATCH)
        await self._write(*((end, row) for end in ends))

    async def add_job(self, dispatch_id: str, ticket: str, attempt: int, node_ids: list[int]) -> None:
        """A job exists under its ticket; its nodes that are not cancelled are DISPATCHING."""
        await self._write(
            (
                transitions.ADD_JOB,
                {"ticket": ticket, "dispatch_id": dispatch_id, "attempt": attempt, "cancel_attempts": 0},
            ),
            *((transitions.ADD_JOB_NODE, {"ticket": ticket, "place": p, "node_id": n}) for p, n in enumerate(node_ids)),
            *(
                (
                    transitions.START_NODE,
                    {**node_key(dispatch_id, n), "b_status": Status.DISPATCHING.value, "b_started": now()},
                )
                for n in node_ids
            ),
        )

    async def set_payload(self, dispatch_id: str, ticket: str, payload: bytes | memoryview) -> None:
        """The step pickle has its output."""
        value = self.store.values.keep(dispatch_id, f"payload-{ticket}", payload)
        await self._write((transitions.SET_PAYLOAD, {"b_ticket": ticket, "b_payload": encode(value)}))

    async def set_location(self, ticket: str, location: str) -> None:
        """The step upload has its output."""
        await self._write((transitions.SET_LOCATION, {"b_ticket": ticket, "b_location": location}))

    async def set_job_handle(self, dispatch_id: str, ticket: str, handle: str, node_ids: list[int]) -> None:
        """The step provision has its output; the nodes are RUNNING unless a cancel came before."""
        await self._write(
            (transitions.SET_HANDLE, {"b_ticket": ticket, "b_handle": handle}),
            *((transitions.RUN_NODE, {**node_key(dispatch_id, n), "b_status": Status.RUNNING.value}) for n in node_ids),
        )

    async def end_nodes(self, dispatch_id: str, ends: list[NodeEnd], again: Sequence[Requeue] = ()) -> None:
        """Nodes have ended, or are to start again, each unless a cancel came before.

        The caller sees that by the order it was told of.
        """
        for node_id in [*(end.node_id for end in ends), *(requeue.node_id for requeue in again)]:
            # What was seen of this attempt must not be kept for the next.
            self._outputs.pop((dispatch_id, node_id), None)

        failed = [(transitions.ADD_ATTEMPT, _attempt_row(dispatch_id, node)) for node in again if node.failed]
        requeued = [(transitions.REQUEUE_NODE, node.as_row(dispatch_id)) for node in again]
        await self._write(*((transitions.END_NODE, end.as_row(dispatch_id)) for end in ends), *failed, *requeued)

    async def end_stopped_nodes(self, dispatch_id: str, ends: list[NodeEnd]) -> None:
        """Those of these nodes that were CANCELLING have ended: nothing of them is alive, or they were given up."""
        given_up = [{"b_given_up": end.error if end.status == Status.FAILED else None} for end in ends]
        rows = [end.as_row(dispatch_id) | words for end, words in zip(ends, given_up, strict=True)]
        await self._write(*((transitions.END_STOPPED_NODE, row) for row in rows))

    async def set_cancel_attempt(
        self, ticket: str, since: float, attempts: int, error: str | None, next_at: float | None
    ) -> None:
        """An attempt to end a job has been made; `error` and `next_at` say that it must be made again, and when."""
        values = {"b_cancel_since": since, "b_cancel_attempts": attempts, "b_cancel_error": error}
        await self._write((transitions.SET_CANCEL, {"b_ticket": ticket, **values, "b_cancel_next": next_at}))

    def note_progress(self, ticket: str, progress: str) -> None:
        """Keep how far a job's step in flight is for the next `store_progress`. May be called from any thread."""
        self._progress[ticket] = progress

    def note_waiting(self, ticket: str, text: str) -> None:
        """As `note_progress`: what a job waits for, empty if for nothing."""
        if self._waits.get(ticket, "") != text:
            self._waits[ticket] = text
            self._new_waits[ticket] = text

    def note_usage(self, ticket: str, usage: str) -> None:
        """As `note_progress`: what a job costs, as `Usage.as_text` gives it; at the latest `close_job` stores it."""
        self._usages[ticket] = usage

    def note_output(self, dispatch_id: str, node_id: int, stdout: str, stderr: str) -> None:
        """As `note_progress`: what a running task has written."""
        self._outputs[dispatch_id, node_id] = (stdout, stderr)

    async def store_progress(self) -> None:
        """Store what has been noted; one transaction, however often it was noted."""
        progress, self._progress = self._progress, {}
        outputs, self._outputs = self._outputs, {}
        waits, self._new_waits = self._new_waits, {}
        writes: list[Write] = [
            (transitions.SET_PROGRESS, {"b_ticket": ticket, "b_progress": text}) for ticket, text in progress.items()
        ]
        writes += [
            (transitions.SET_WAITING, {"b_ticket": ticket, "b_waiting": text or None}) for ticket, text in waits.items()
        ]
        # One by one: what another thread notes meanwhile must not be lost.
        writes += [_usage(ticket, self._usages.pop(ticket)) for ticket in list(self._usages)]
        writes += [
            (transitions.SET_OUTPUT, {**transitions.node_key(*node), "b_stdout": stdout, "b_stderr": stderr})
            for node, (stdout, stderr) in outputs.items()
        ]

        if writes:
            await self._write(*writes)

    async def close_job(self, dispatch_id: str, ticket: str, error: str | None) -> None:
        """`release` has been called for a job; `error` is what it raised."""
        self._waits.pop(ticket, None)
        usage = self._usages.pop(ticket, None)
        await self._write(
            *([] if usage is None else [_usage(ticket, usage)]),
            (transitions.CLOSE_JOB, {"b_ticket": ticket, "b_released": now(), "b_error": error, "b_payload": None}),
        )
        self.store.values.discard(dispatch_id, f"payload-{ticket}")

    async def _write(self, *writes: Write) -> None:
        """Queue writes for the next transaction and wait until it is on disk.

        Whoever is cancelled while waiting has written all the same.

        Raises:
            Exception: The store does not take these writes; then none of them is written.
        """
        if self._closed:
            # The dispatcher is ending, and whoever wanted to write with it, shielded or not.
            raise get_cancelled_exc_class()

        entry = _Entry(writes)
        self._waiting.append(entry)
        self._queued.set()

        await self._written.wait()

        if entry.error is not None:
            raise entry.error

    async def run(self) -> None:
        """Commit what is queued, until cancelled; then what is queued is committed too."""
        try:
            while True:
                await self._queued.wait()
                await self._flush()
        finally:
            self._closed = True
            await self._flush()

    async def _flush(self) -> None:
        batch, written = self._waiting, self._written
        self._waiting, self._written, self._queued = [], Event(), Event()

        # Where the store itself is broken nobody goes on as if it were written: the dispatcher ends.
        with CancelScope(shield=True):
            self._notice(await self._commit_what_is_taken(batch))
            written.set()

    async def _commit_what_is_taken(self, batch: list[_Entry]) -> int:
        """As `_commit_until_written`; what the store does not take is the error of its caller alone."""
        try:
            return await self._commit_until_written(batch)
        except Exception as error:
            if is_broken(error) or not batch:
                raise

            if len(batch) == 1:
                batch[0].error = error
                return self._seen_order

        return max([await self._commit_what_is_taken([entry]) for entry in batch])

    async def _commit_until_written(self, batch: list[_Entry]) -> int:
        pause = 0.1

        try:
            # Mostly at once: another thread would cost more than the commit.
            return self._commit(batch, patience=SHORT_SECONDS)
        except Exception as error:
            if not is_transient(error):
                raise

        while True:
            try:
                return await to_thread.run_sync(self._commit, batch)
            except Exception as error:
                if not is_transient(error):
                    raise

                log.error("the store cannot be written: %s; trying again in %.1f s", error, pause)
                await sleep(pause)
                pause = min(2 * pause, 10.0)

    def _commit(self, batch: list[_Entry], patience: float = BUSY_SECONDS) -> int:
        """Write a batch in one transaction; return the last cancel order that was committed before it."""
        rows: dict[Prepared, list[dict[str, Any]]] = {}

        for entry in batch:
            for statement, row in entry.writes:
                rows.setdefault(statement, []).append(row)

        with self._database.write_raw(self._writer, patience) as cursor:
            for statement, values in rows.items():
                statement.execute(cursor, values)

            cursor.execute(LAST_ORDER)
            (last,) = cursor.fetchone() or (0,)

        return last or 0


def _usage(ticket: str, text: str) -> Write:
    return transitions.SET_USAGE, {"b_ticket": ticket, "b_usage": text}
