"""To try again, for as long as it takes: a task that runs is not lost because the way to it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias, TypeVar

from anyio import sleep

from covalent_core.backend._waiting import Tell, Told, Trouble, words_of
from covalent_core.errors import BackendUnreachableError

T = TypeVar("T")

Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]

#: Seconds before the second attempt, and the longest ones between two; doubled from one to the next.
LOST_PAUSES, REFUSED_PAUSES = (1.0, 60.0), (120.0, 900.0)


async def patiently(
    operation: Callable[[], Awaitable[T]],
    *,
    lost: Errors = BackendUnreachableError,
    refused: Errors = (),
    lost_pauses: tuple[float, float] = LOST_PAUSES,
    refused_pauses: tuple[float, float] = REFUSED_PAUSES,
    what: str = "the backend gives no answer",
    tell: Tell | None = None,
) -> T:
    """Return what an operation gives, tried again for ever while its backend is out of reach.

    The log has a first line about it, and then one an hour.

    Args:
        lost: What it raises where no answer has come. A `BackendUnreachableError` that says so is a refusal.
        refused: What it raises where the answer was no and may be another one later: a login that is not let in, a rate
            that is used up. Hosts ban whoever asks again at once.
        lost_pauses: Seconds before the second attempt after a loss, doubled from one to the next, and the longest ones.
        refused_pauses: The same after a refusal.
        what: What is the case then, to begin a sentence with.
        tell: Is told what is waited for and since when, and at last an empty text; ``job.report_waiting`` fits.

    Raises:
        Exception: What the operation raises besides.
    """
    trouble, told = Trouble(what), Told(tell)
    pauses = {False: growing(*lost_pauses), True: growing(*refused_pauses)}

    try:
        while True:
            try:
                result = await operation()
            except Exception as error:
                if not isinstance(error, lost) and not isinstance(error, refused):
                    raise

                told.say(trouble.met(words_of(error)))
                pause = next(pauses[is_refusal(error, refused)])
            else:
                trouble.over()
                return result

            await sleep(pause)
    finally:
        told.say("")


def is_refusal(error: Exception, refused: Errors = ()) -> bool:
    """Return whether the backend said no and should be asked again only after minutes."""
    return isinstance(error, refused) or (isinstance(error, BackendUnreachableError) and error.refused)


def growing(first: float, longest: float) -> Iterator[float]:
    """Give pauses in seconds, each twice as long as the one before, up to the longest."""
    pause = first

    while True:
        yield min(pause, longest)
        pause = min(pause * 2, longest)
