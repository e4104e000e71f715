"""What somebody waits for, told to the user as it changes, and to the log as rarely as it is of use there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("covalent_core.backend")

#: Seconds after which the log has a second line, and all further ones, about the same trouble.
LOG_SECONDS = 3600.0

#: Who is told what is waited for; an empty text means that nothing is.
Tell = Callable[[str], None]


class Told:
    """Tells a text only if it is another one than before."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._text = ""

    def say(self, text: str) -> None:
        if text != self._text:
            self._text = text

            if self._tell is not None:
                self._tell(text)


class Trouble:
    """Something that does not work, from its first failure until it works again.

    Args:
        what: What is the case then, to begin a sentence with.
        logs: Whether the log has it too.
    """

    def __init__(self, what: str, *, logs: bool = True) -> None:
        self._what = what
        self._logs = logs
        self._logged_at = 0.0
        self._since = ""

    def met(self, why: str) -> str:
        """Note a failure, and return what to tell about it; the text is the same as long as `why` is."""
        self._since = self._since or now()
        words = f"{self._what}, since {self._since}: {why}"

        if self._logs and (not self._logged_at or time.monotonic() - self._logged_at >= LOG_SECONDS):
            self._logged_at = time.monotonic()
            log.warning("%s", words)

        return words

    def over(self) -> None:
        """Note that it works."""
        if self._logged_at:
            log.info("%s, since %s: no more", self._what, self._since)

        self._logged_at, self._since = 0.0, ""


def now() -> str:
    """Return the time as a user reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def words_of(error: Exception) -> str:
    """Return what an exception says, or else what it is."""
    return str(error) or type(error).__name__
