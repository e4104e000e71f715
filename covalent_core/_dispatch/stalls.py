"""Who makes the dispatcher stand still is named: a hook that blocks the event loop delays all jobs and all cancels."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import FrameType

from anyio import sleep

from covalent_core._executors.bound import hook_of
from covalent_core._model.job import Job
from covalent_core._store.journal import Journal

log = logging.getLogger(__name__)

#: How often the event loop shows that it turns, and after how long without it somebody is named.
BEAT_SECONDS, STALL_SECONDS = 0.5, 2.0


class Stalls:
    """Watches the event loop of the thread that makes this object, from another thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop_thread = threading.get_ident()
        self._beat = time.monotonic()
        self._next = STALL_SECONDS
        self._told: dict[str, str] = {}
        self._ended = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        threading.Thread(target=self._watch, name="stalls", daemon=True).start()

        try:
            while True:
                self._beat, self._next = time.monotonic(), STALL_SECONDS
                told, self._told = self._told, {}

                for ticket, words in told.items():
                    # Known to the journal too, so that the end of the step takes it away.
                    self._journal.note_waiting(ticket, words)

                await sleep(BEAT_SECONDS)
        finally:
            self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            seconds = time.monotonic() - self._beat

            if seconds >= self._next:
                self._next = 2 * seconds
                self._tell(seconds)

    def _tell(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        name, job = _hook_in(frame)

        if not name:
            log.warning("the dispatcher has stood still for %.0f s, in %s", seconds, _place(frame))
            return

        words = f"{name} has blocked the dispatcher for {seconds:.0f} s; make it a plain def"
        log.warning("%s (it is in %s)", words, _place(frame))

        if job is not None:
            self._told[job.ticket] = words
            self._journal.store.set_waiting(job.ticket, words)


def _hook_in(frame: FrameType | None) -> tuple[str, Job | None]:
    """Return the hook that is running in a stack, and the job that it was called for."""
    while frame is not None:
        if name := hook_of(frame.f_code):
            job = frame.f_locals.get("job")
            return name, job if isinstance(job, Job) else None

        frame = frame.f_back

    return "", None


def _place(frame: FrameType | None) -> str:
    return "no Python code" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
