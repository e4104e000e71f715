"""What comes from outside while a job runs: orders, new links and the end of its time; and its sign of life."""

import contextlib
import json
import os
import threading
import time

#: Seconds between two looks at the orders: a quarter of the time that the job has run, within these bounds.
SHORTEST, LONGEST, PART = 0.25, 5.0, 0.25


class Watcher(threading.Thread):
    """Watches on behalf of one job.

    Args:
        stop: Called with a word when the job is to end: ``cancel`` or ``time limit``.
        prefix: What the names of all files of the runner begin with.
        beat: Seconds between two signs of life.
        renewal: Seconds after which links are looked at again.
        deadline: When the job is out of time, in seconds since 1970.
    """

    def __init__(self, objects, stop, prefix, beat, renewal, deadline):
        super().__init__(daemon=True)
        self._objects = objects
        self._stop_job = stop
        self._prefix = prefix
        self._beat = beat
        self._renewal = renewal
        self._deadline = deadline
        self._began = time.monotonic()
        # That the job was won is the first sign of life.
        self._beaten_at = time.monotonic()
        self._order = {}
        self.finished = threading.Event()

    def run(self):
        while not self.finished.wait(self._pause()):
            # S3 may be out of reach for a while; what is to be done then is done afterwards.
            for step in (self.look_for_orders, self._show_life, self._renew, self._look_at_the_clock):
                with contextlib.suppress(OSError, ValueError):
                    step()

    def look_for_orders(self):
        """Carry out a new order, if there is one."""
        order = json.loads(self._objects.get("orders"))

        if order != self._order:
            self._order = order

            if order.get("nodes"):
                self._leave(".cancel", order["nodes"])

            if order.get("cancel"):
                self._leave(".order", {name: order[name] for name in ("reason", "grace")})
                self._stop_job("cancel")

    def _leave(self, name, content):
        """Leave something where the runner looks for it."""
        with open(self._prefix + name + ".part", "w") as file:
            json.dump(content, file)

        os.rename(self._prefix + name + ".part", self._prefix + name)

    def _pause(self):
        pause = min(max((time.monotonic() - self._began) * PART, SHORTEST), LONGEST)
        return max(0.0, min(pause, self._deadline - time.time())) if self._deadline > time.time() else pause

    def _show_life(self):
        if time.monotonic() - self._beaten_at >= self._beat:
            self._objects.put_once("results/beat", b"%d" % time.time())
            self._beaten_at = time.monotonic()

    def _renew(self):
        self._objects.renew_in_time(self._renewal)

    def _look_at_the_clock(self):
        if time.time() >= self._deadline:
            self._stop_job("time limit")
