"""What containers write, on its way to CloudWatch Logs."""

from __future__ import annotations

import asyncio
import time

from aws.knobs import Knobs
from aws.moto_services import MotoServices

DEFAULT_GROUP = "/aws/batch/job"


class LogStreams:
    """The log streams of the containers of one region."""

    def __init__(self, moto: MotoServices, knobs: Knobs, region: str) -> None:
        self._moto, self._knobs, self._region = moto, knobs, region

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

        if events and self._knobs.log_streams:
            given = self._region, group, stream, events
            asyncio.get_running_loop().call_later(self._knobs.log_delay, self._moto.write_lines, *given)
