"""What containers write, in moto's CloudWatch Logs."""

from __future__ import annotations

import time
from typing import Any

DEFAULT_GROUP = "/aws/batch/job"


class LogStreams:
    """The log streams of the containers of one region."""

    def __init__(self, account: str, region: str) -> None:
        self._account, self._region = account, region

    def open(self, group: str, stream: str) -> None:
        """Make the stream, and the group that Batch makes by itself.

        Raises:
            LookupError: There is no such group, and it is not Batch's own.
        """
        logs = self._logs()

        if group not in logs.groups:
            if group != DEFAULT_GROUP:
                raise LookupError(f"The specified log group does not exist: {group}")

            logs.create_log_group(group, {})

        logs.create_log_stream(group, stream)

    def write(self, group: str, stream: str, lines: list[str]) -> None:
        """Add lines to a stream; CloudWatch takes no empty ones."""
        stamp = int(time.time() * 1000)
        events = [{"timestamp": stamp, "message": line} for line in lines if line]

        if events:
            self._logs().put_log_events(group, stream, events)

    def _logs(self) -> Any:
        """moto's own, which is slow to import: not before it is needed."""
        from moto.logs.models import logs_backends

        return logs_backends[self._account][self._region]
