"""How often a backend is looked at: by how long somebody has waited, and by what came of the looks before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from covalent_core.backend.patience import REFUSED_PAUSES, growing, is_refusal

#: Seconds for which who is in a hurry is looked at with short pauses.
HURRY_SECONDS = 2.0

#: The part of the time that somebody has waited for which he waits until the next look.
PART_OF_AGE = 0.25

NEVER = float("-inf")


@dataclass
class Waited:
    """When somebody has waited for something.

    Attributes:
        since: When the waiting began.
        asked_at: When it was looked at last.
        hurried_at: When somebody was in a hurry last.
    """

    since: float
    asked_at: float = NEVER
    hurried_at: float = NEVER

    def is_hurried(self, now: float) -> bool:
        """Return whether somebody is in a hurry."""
        return now < self.hurried_at + HURRY_SECONDS


@dataclass(frozen=True)
class Pace:
    """The bounds of the pauses, in seconds: between any two looks, between two at the same, and in a hurry."""

    floor: float
    ceiling: float
    hurried: float

    def shortest(self, *, hurried: bool) -> float:
        """Return the shortest pause."""
        return self.hurried if hurried else self.floor

    def due(self, waited: Waited, now: float) -> float:
        """Return when to look next at what somebody has waited for."""
        shortest = self.shortest(hurried=waited.is_hurried(now))
        age = max(0.0, waited.asked_at - waited.since)
        return waited.asked_at + min(max(age * PART_OF_AGE, shortest), max(self.ceiling, shortest))


class Setbacks:
    """What failed looks mean for the next one: pauses that grow, and minutes after a refusal.

    Args:
        first: Seconds after the first failure, doubled from one to the next.
        longest: The longest pause after failures that are no refusals.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failed_until = NEVER
        self._refused_until = NEVER
        self._pauses: Iterator[float] | None = None
        self._refused_pauses: Iterator[float] | None = None

    def met(self, error: Exception) -> None:
        """Note a look that has shown nothing at all."""
        if is_refusal(error):
            self._refused_pauses = self._refused_pauses or growing(*REFUSED_PAUSES)
            self._refused_until = time.monotonic() + next(self._refused_pauses)
        else:
            self._pauses = self._pauses or growing(self._first, self._longest)
            self._failed_until = time.monotonic() + next(self._pauses)

    def over(self) -> None:
        """Note a look that has not failed."""
        self._failed_until = self._refused_until = NEVER
        self._pauses = self._refused_pauses = None

    def until(self, *, hurried: bool) -> float:
        """Return when the next look may be made; a hurry makes only a refusal wait."""
        return self._refused_until if hurried else max(self._failed_until, self._refused_until)
