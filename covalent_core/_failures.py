"""Dispatchers that have failed: each leaves its word, so that no client starts one after the other in silence.

For one that was ended by a signal, the client that has started it does so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from covalent_core._home import Home

#: How long a failure counts.
SECONDS = 600.0

#: How many failures within that time are said to whoever needs a dispatcher.
MOST = 2


@contextmanager
def noted(home: Home) -> Iterator[None]:
    """Note it if the dispatcher of `home`, which runs within, fails. Only for whoever holds the lock of `home`."""
    try:
        yield
    except Exception as error:
        note(home, type(error).__name__)
        raise

    _file(home).unlink(missing_ok=True)


def note(home: Home, words: str) -> None:
    """Note that a dispatcher of `home` has failed, and with what."""
    with open(_file(home), "a") as file:
        file.write(f"{time.time()} {words}\n")


def repeated(home: Home) -> str | None:
    """Return with what dispatchers have failed of late, if repeatedly. Who is told may try again: it is told once."""
    with suppress(FileNotFoundError):
        failures = [line.partition(" ") for line in _file(home).read_text().splitlines()]
        of_late = [words for at, _, words in failures if abs(time.time() - float(at)) < SECONDS]

        if len(of_late) >= MOST:
            _file(home).unlink()
            return ", ".join(of_late)

    return None


def _file(home: Home) -> Path:
    return home.folder / "dispatcher.failures"
