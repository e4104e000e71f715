"""The orders to end jobs: those of one moment together, in as few calls as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from covalent_core.backend import Alive, Over, Together
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._looks import Queue, Watched
from covalent_core_slurm._states import BEGUN


class Order(NamedTuple):
    """An order to end a job.

    Attributes:
        gently: If its script runs, send it SIGTERM and nothing more: Slurm's own grace period may be too short for it.
    """

    job: Watched
    gently: bool


class Cancels:
    """Carry out orders to end jobs."""

    def __init__(self, commands: Commands, queue: Queue) -> None:
        self._commands = commands
        self._queue = queue
        self._orders: Together[Order, None] = Together(self._carry_out, moment=0.1, longest=2.0)

    async def give(self, order: Order) -> None:
        """Return when Slurm has taken the order. Only a job that is known to be over needs none.

        Raises:
            SlurmUnreachableError: It has not been taken.
        """
        await self._orders.ask(order)

    async def _carry_out(self, orders: list[Order]) -> Mapping[Order, None]:
        looks = await asyncio.gather(*(self._queue.look(order.job, now=True) for order in orders))
        living = [(order, look) for order, look in zip(orders, looks, strict=True) if not isinstance(look, Over)]
        running = {order.job.job_id for order, look in living if isinstance(look, Alive) and look.state in BEGUN}
        gentle = {order.job.job_id for order, _ in living if order.gently} & running
        await self._commands.cancel(compact(gentle), gently=True)
        await self._commands.cancel(compact({order.job.job_id for order, _ in living} - gentle))
        return dict.fromkeys(orders)


def compact(job_ids: Iterable[str]) -> list[str]:
    """Return the names of jobs for scancel, the elements of an array as one: each name costs the controller a call."""
    arrays: dict[str, list[int]] = {}

    for job_id in job_ids:
        array, _, element = job_id.partition("_")
        arrays.setdefault(array, []).extend([int(element)] if element else [])

    return sorted(f"{array}_[{_ranges(sorted(elements))}]" if elements else array for array, elements in arrays.items())


def _ranges(numbers: list[int]) -> str:
    """Write sorted numbers as Slurm does: ``0-3,7``."""
    found: list[tuple[int, int]] = []

    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))

    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
