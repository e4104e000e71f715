"""The orders to end jobs: those of one moment together, in as few calls as possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from covalent_core.backend import Together
from covalent_core_slurm._answers import JobRecord, belongs
from covalent_core_slurm._commands import Commands
from covalent_core_slurm._states import meaning
from covalent_core_slurm._watch import Watch

#: The states in which the script of a job may be running.
BEGUN = ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")


class Order(NamedTuple):
    """An order to end a job.

    Attributes:
        gently: If its script runs, send it SIGTERM and nothing more: Slurm's own grace period may be too short for it.
    """

    ticket: str
    job_id: str
    gently: bool


class Cancels:
    """Carry out orders to end jobs."""

    def __init__(self, commands: Commands, watch: Watch) -> None:
        self._commands = commands
        self._watch = watch
        self._orders: Together[Order, None] = Together(self._carry_out, moment=0.1, longest=2.0)

    async def give(self, order: Order) -> None:
        """Return when Slurm has taken the order; a job that is over, or that it does not know, needs none.

        Raises:
            ExecutorError: It has not been taken.
        """
        await self._orders.ask(order)

    async def _carry_out(self, orders: list[Order]) -> Mapping[Order, None]:
        jobs = {record.job_id: record for record in await self._watch.ask_now()}
        living = [order for order in orders if _lives(order, jobs.get(order.job_id))]
        gentle = {order.job_id for order in living if order.gently and jobs[order.job_id].state in BEGUN}
        await self._commands.cancel(compact(gentle), gently=True)
        await self._commands.cancel(compact({order.job_id for order in living} - gentle))
        return dict.fromkeys(orders)


def _lives(order: Order, record: JobRecord | None) -> bool:
    # A number that belongs to another job by now has another name.
    return record is not None and belongs(record.name, order.ticket) and not meaning(record.state).over


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
