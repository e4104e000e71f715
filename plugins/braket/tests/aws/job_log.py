"""What a container writes, on its way to the log stream of its job."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

GROUP = "/aws/braket/jobs"

#: How often what a container has written goes there.
SECONDS = 0.1


class JobLog:
    """The log stream of a job. Its lines come late, as they do there."""

    def __init__(self, logs: Any, name: str, arn: str) -> None:
        self._logs = logs
        self._stream = f"{name}/{arn.rsplit('/', 1)[1]}/algo-1-{int(time.time())}"
        self._lines: list[dict[str, Any]] = []
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def follow(self, output: Any) -> None:
        """Take what comes, until nothing is left that could write."""
        for target in (lambda: self._read(output), self._write):
            self._threads.append(threading.Thread(target=target, daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """Wait until all has been stored."""
        for thread in self._threads:
            thread.join(10)

    def _read(self, output: Any) -> None:
        for line in output:
            text = line.decode(errors="replace").rstrip("\n") or " "
            self._lines.append({"timestamp": int(time.time() * 1000), "message": text})

        self._ended.set()

    def _write(self) -> None:
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_group(logGroupName=GROUP)

        self._logs.create_log_stream(logGroupName=GROUP, logStreamName=self._stream)
        ended = False

        while not ended:
            ended = self._ended.wait(SECONDS)
            lines, self._lines = self._lines, []

            if lines:
                self._logs.put_log_events(logGroupName=GROUP, logStreamName=self._stream, logEvents=lines)
