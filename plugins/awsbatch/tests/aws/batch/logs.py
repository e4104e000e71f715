"""What containers write, on its way to CloudWatch Logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from aws.knobs import Knobs
from aws.moto_services import MotoServices

DEFAULT_GROUP = "/aws/batch/job"


class LogStreams:
    """The log streams of the containers of one region.

    Args:
        start: Does something beside all else.
    """

    def __init__(
        self, moto: MotoServices, knobs: Knobs, region: str, start: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._moto, self._knobs, self._region, self._start = moto, knobs, region, start

    def open(self, group: str, stream: str) -> None:
        """Make the stream, and the group that Batch makes by itself.

        Raises:
            LookupError: There is no such group.
        """
        if self._knobs.log_streams:
            self._moto.open_stream(self._region, group, stream, DEFAULT_GROUP)

    def write(self, group: str, stream: str, lines: list[str]) -> None:
        """Add lines to a stream, now or late; CloudWatch takes no empty ones."""
        stamp = int(time.time() * 1000)
        events = [{"timestamp": stamp, "message": line} for line in lines if line]

        if not events or not self._knobs.log_streams:
            return

        if self._knobs.log_delay:
            self._start(self._write_late(group, stream, events))
        else:
            self._moto.write_lines(self._region, group, stream, events)

    async def _write_late(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        await self._knobs.delay("log_delay")
        self._moto.write_lines(self._region, group, stream, events)
