"""For how long a job may go on when nobody wants it any more."""

from __future__ import annotations

import contextlib
import os
import time


class Lease:
    """A file that is to be touched again and again.

    Only whether its time has changed counts: the clock of a file server need not be that of this host.

    Attributes:
        seconds: How long it may be left alone.
    """

    def __init__(self, path: str, seconds: float) -> None:
        open(path, "a").close()
        self.seconds = seconds
        self._path = path
        self._seen = 0
        self._changed = time.monotonic()

    @property
    def is_over(self) -> bool:
        # A file that cannot be looked at has not been touched.
        with contextlib.suppress(OSError):
            seen = os.stat(self._path).st_mtime_ns

            if seen != self._seen:
                self._seen, self._changed = seen, time.monotonic()

        return time.monotonic() - self._changed > self.seconds
