"""What jobs cost, said at their nodes: the price list is asked by threads of its own, and no step waits for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from threading import Lock, Thread

from anyio import to_thread

from covalent_core import Job, Usage
from covalent_core_braket.costs import LEAST_SECONDS, PriceList, price_list

log = logging.getLogger(__name__)

#: Seconds after which a list that could not be had is asked for again.
AGAIN_SECONDS = 60.0

#: Seconds that the end of a job waits for its last word about its cost.
LAST_WORD_SECONDS = 2.0

USD = "USD"


class Usages:
    """Says what jobs cost, in the order in which it is told to."""

    def __init__(self) -> None:
        self._threads: dict[str, Thread] = {}
        self._lock = Lock()
        self._list: PriceList | None = None
        self._again = 0.0

    def say(self, job: Job, cost: Callable[[PriceList], Usage]) -> None:
        """Report what a job costs, as soon as the prices are known."""
        before = self._threads.get(job.ticket)
        thread = Thread(target=self._say, args=(job, cost, before), daemon=True, name=f"cost of {job.ticket}")
        self._threads[job.ticket] = thread
        thread.start()

    async def settle(self, job: Job) -> None:
        """Give what is still to be said about a job a moment, and keep nothing of it."""
        if (thread := self._threads.pop(job.ticket, None)) is not None:
            await to_thread.run_sync(thread.join, LAST_WORD_SECONDS)

    def _say(self, job: Job, cost: Callable[[PriceList], Usage], before: Thread | None) -> None:
        if before is not None:
            before.join()

        try:
            usage = cost(self._prices())
        except Exception as error:
            log.exception("%s: what it costs", job.ticket)
            usage = Usage("unknown", text=f"{type(error).__name__}: {error}")

        job.report_usage(usage)

    def _prices(self) -> PriceList:
        with self._lock:
            if self._list is None or (self._list.is_empty and time.monotonic() >= self._again):
                self._list = price_list()
                self._again = time.monotonic() + AGAIN_SECONDS

            return self._list


def tasks_on_qpu(device: str, tasks: int, shots: int, *, billed: bool) -> Callable[[PriceList], Usage]:
    """Return what quantum tasks on a QPU cost, `shots` all together."""
    region, name = device.split(":")[3], device.rpartition("/")[2]
    what = f"{tasks} quantum task{'s' if tasks > 1 else ''} and {shots} shots on {name}"

    def cost(prices: PriceList) -> Usage:
        task = prices.one(region, **{"Product Family": "Quantum Task", "DeviceName": name})
        shot = prices.one(region, **{"Product Family": "Quantum Task-Shot", "DeviceName": name})

        if task is None or shot is None:
            return _unknown(what, prices.why)

        return Usage("billed" if billed else "estimate", tasks * task + shots * shot, USD, text=what)

    return cost


def simulator(region: str, device: str, milliseconds: int | None = None) -> Callable[[PriceList], Usage]:
    """Return what a simulator costs: a minute of it, or the time for which it ran."""
    version = device.rpartition("/")[2].upper()
    product = {"Product Family": "Simulator Task", "Version": version}
    return _by_time(region, product, version, f"{LEAST_SECONDS} s at least for each quantum task", milliseconds)


def instance(region: str, kind: str, milliseconds: int | None = None) -> Callable[[PriceList], Usage]:
    """Return what an instance costs: a minute of it, or the time that was billed."""
    product = {"Product Family": "Braket Managed Jobs", "Instance Type": kind}
    return _by_time(region, product, kind, "without quantum tasks", milliseconds)


def unknown(why: str) -> Callable[[PriceList], Usage]:
    """Return that it is not known what something costs, whatever the prices are."""
    return lambda _: Usage("unknown", text=why)


def _by_time(
    region: str, product: dict[str, str], name: str, besides: str, milliseconds: int | None
) -> Callable[[PriceList], Usage]:
    def cost(prices: PriceList) -> Usage:
        minute = prices.minute(region, **product)

        if minute is None:
            return _unknown(name, prices.why)

        if milliseconds is None:
            return Usage("at most", _rounded(minute), USD, "minute", f"{name}, {besides}")

        words = f"{milliseconds / 1000:.1f} s of {name}, {besides}"
        return Usage("billed", _rounded(minute * milliseconds / 60_000), USD, text=words)

    return cost


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.0001"))


def _unknown(what: str, why: str) -> Usage:
    return Usage("unknown", text=f"{what}: {why}")
