"""Dispatchers that have failed: each leaves its word, so that no client starts one after the other in silence.

One that was killed leaves none: it is brought back by whoever needs it, however often.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from covalent_core._home import Home

#: How long a failure counts.
SECONDS = 60.0

#: How many failures within that time are said to whoever needs a dispatcher.
MOST = 2


@contextmanager
def noted(home: Home) -> Iterator[None]:
    """Note it if the dispatcher of `home`, which runs within, fails. Only for whoever holds the lock of `home`."""
    try:
        yield
    except Exception:
        with open(_file(home), "a") as file:
            file.write(f"{time.time()}\n")

        raise

    _file(home).unlink(missing_ok=True)


def are_repeated(home: Home) -> bool:
    """Return whether dispatchers have failed repeatedly of late. Whoever is told so may try again: it is told once."""
    with suppress(FileNotFoundError):
        times = [float(line) for line in _file(home).read_text().split()]

        if sum(abs(time.time() - at) < SECONDS for at in times) >= MOST:
            _file(home).unlink()
            return True

    return False


def _file(home: Home) -> Path:
    return home.folder / "dispatcher.failures"
