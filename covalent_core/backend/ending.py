"""The end of a job that is to be cancelled: told gently, given its time, ended firmly, and proven."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

from covalent_core.errors import ExecutorError

#: An order to a backend, blocking for a moment only or to be awaited.
Order: TypeAlias = Callable[[], object]

#: Seconds within which a backend must prove an end that it was ordered to make.
PROOF_SECONDS = 45.0


async def end_gracefully(
    gently: Order | None,
    firmly: Order,
    is_over_within: Callable[[float], Awaitable[bool]],
    *,
    grace: float,
    proof: float = PROOF_SECONDS,
    what: str = "the job",
) -> None:
    """End a job. When this returns, it is proven to be over.

    Args:
        gently: Tells it to end by itself, as SIGTERM does; None where the backend has no such order.
        firmly: Ends it, as SIGKILL does.
        is_over_within: Whether it is proven to be over before so many seconds have passed; ``watch.is_over_within``
            of a job fits.
        grace: Seconds between the two orders.
        proof: Seconds that the proof may take after the second one.
        what: What is ended, for the error.

    Raises:
        ExecutorError: It is not proven to be over. Let it pass out of `cancel`: that is called again.
        Exception: What an order raises.
    """
    if gently is not None and grace > 0:
        await _give(gently)

        if await is_over_within(grace):
            return

    await _give(firmly)

    if not await is_over_within(proof):
        raise ExecutorError(f"{what} is not known to be over {proof:g} s after the order to end it")


async def _give(order: Order) -> None:
    taken = order()

    if isawaitable(taken):
        await taken
