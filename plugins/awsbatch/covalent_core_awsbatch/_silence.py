"""For how long a job has shown no sign of life since AWS said that it is over."""

from __future__ import annotations

import time

from covalent_core.backend import Look, Over
from covalent_core_awsbatch._looks import Files


class Silences:
    """The silences of all jobs, by location. What was seen counts also for who looks later again."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, float]] = {}

    def seconds(self, location: str, batch: Look, files: Look) -> float:
        """Return for how long a job has been silent of which AWS says that it is over; 0 if it does not say so."""
        beat, since = self._since.get(location, (-1.0, 0.0))

        if not isinstance(batch, Over) or not isinstance(files, Files):
            # Who cannot be heard is not silent.
            self._since.pop(location, None)
            return 0.0

        if files.beat != beat:
            beat, since = files.beat, time.monotonic()
            self._since[location] = (beat, since)

        return time.monotonic() - since

    def forget(self, location: str) -> None:
        """Know that nobody will ask about a job any more."""
        self._since.pop(location, None)
