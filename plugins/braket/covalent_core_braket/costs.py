"""What runs at Braket costs: as far as it can be said beforehand, and what was billed afterwards.

Nothing here is in the way of a job: a price list that cannot be had, or that has no single price for something, makes
a cost unknown, and it is said to be so.
"""

from __future__ import annotations

import csv
import io
import json
import os
import urllib.request
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import anyio

from covalent_core.errors import ExecutorError

if TYPE_CHECKING:
    from covalent_core_braket._account import Account
    from covalent_core_braket._executor import BraketExecutor

#: Amazon's price list; the environment variable ``BRAKET_PRICE_OFFERS_URL`` names another, as it does for the SDK.
PRICES = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonBraket/current/index.csv"

#: Seconds that the list may take to come.
LIST_SECONDS = 10.0

#: Lines before the names of the columns.
PREAMBLE = 5

#: The shortest time that a simulator bills, in seconds.
LEAST_SECONDS = 3

UNKNOWN = "unknown"

#: The words of a unit of time in the list, and how many of them are a minute.
MINUTES = {"minutes": Decimal(1), "hours": 1 / Decimal(60)}


def expected(executor: BraketExecutor, circuits: int = 1) -> str:
    """Say what an electron will cost with an executor, before anything is sent.

    Quantum tasks on a QPU have a price for each and for each shot. Simulators and hybrid jobs are billed by time, so
    there it is what a minute costs; the quantum tasks of a hybrid job come on top. A program set is one task.

    Args:
        circuits: How many quantum tasks it makes.
    """
    prices, region = price_list(), _region(executor)

    if executor.braket_job_execution_role_name:
        kind = executor.classical_device
        minute = prices.minute(region, **{"Product Family": "Braket Managed Jobs", "Instance Type": kind})
        return _by_time(f"a hybrid job on {kind}", minute, prices, "without its quantum tasks")

    device = executor.device or "local:"

    if device.startswith("local:"):
        return "nothing: it runs on this machine"

    if executor.reservation_arn:
        return f"nothing besides the reservation {executor.reservation_arn}, which is billed by the hour"

    if "/qpu/" not in device:
        version = device.rpartition("/")[2].upper()
        minute = prices.minute(region, **{"Product Family": "Simulator Task", "Version": version})
        return _by_time(f"a quantum task on {version}", minute, prices, f"{LEAST_SECONDS} s at least")

    return _of_tasks(prices, device, executor.shots, circuits)


def billed(executor: BraketExecutor, job_handle: str) -> str:
    """Say what a job that has ended was billed, in shots or time, and what that costs.

    Args:
        job_handle: As the node says it.

    Raises:
        ExecutorError: Braket does not say how it ended.
    """
    from covalent_core_braket._account import Account

    account = Account(executor.region, executor.profile, executor.credentials)
    arns = [arn for arn in job_handle.split() if arn.startswith("arn:")]
    said = [anyio.run(partial(_billed, account, arn)) for arn in arns]
    return "; ".join(said) or "nothing: it ran on this machine"


async def _billed(account: Account, arn: str) -> str:
    region = arn.split(":")[3]
    prices = await anyio.to_thread.run_sync(price_list)

    if ":job/" in arn:
        job = await account.ask("braket", "GetJob", jobArn=arn)
        kind = job["instanceConfig"]["instanceType"]
        minute = prices.minute(region, **{"Product Family": "Braket Managed Jobs", "Instance Type": kind})
        return _of_duration(f"{arn}: {kind}", job.get("billableDuration"), minute, prices)

    task = await account.ask("braket", "GetQuantumTask", quantumTaskArn=arn)

    if task["status"] not in ("COMPLETED", "FAILED", "CANCELLED"):
        raise ExecutorError(f"quantum task {arn} is {task['status']}: what it costs is known when it has ended")

    if "/qpu/" in task["deviceArn"]:
        made = task.get("numSuccessfulShots", task["shots"] if task["status"] == "COMPLETED" else 0)
        return f"{arn}: {_of_tasks(prices, task['deviceArn'], made, 1)}" if made else f"{arn}: no shot was made"

    version = task["deviceArn"].rpartition("/")[2].upper()
    minute = prices.minute(region, **{"Product Family": "Simulator Task", "Version": version})
    return _of_duration(f"{arn}: {version}", await _simulated(account, task), minute, prices)


async def _simulated(account: Account, task: dict[str, Any]) -> int | None:
    """Return for how many milliseconds a simulator ran, which stands in the result alone."""
    from covalent_core_braket._storage import Folder

    folder = Folder(account, task["outputS3Bucket"], task["outputS3Directory"])

    try:
        metadata = json.loads(await folder.get("results.json"))["additionalMetadata"]["simulatorMetadata"]
    except (FileNotFoundError, KeyError, TypeError):
        return None

    duration = metadata.get("executionDuration")
    return None if duration is None else max(int(duration), LEAST_SECONDS * 1000)


def _of_tasks(prices: PriceList, device: str, shots: int, count: int) -> str:
    region, name = device.split(":")[3], device.rpartition("/")[2]
    task = prices.one(region, **{"Product Family": "Quantum Task", "DeviceName": name})
    shot = prices.one(region, **{"Product Family": "Quantum Task-Shot", "DeviceName": name})

    if task is None or shot is None:
        return f"{count} x {shots} shots on {name}: {UNKNOWN} ({prices.why})"

    cost = count * (task + shots * shot)
    return f"{count} x {shots} shots on {name}: {cost:.2f} USD ({task:f} a task, {shot:f} a shot)"


def _by_time(what: str, minute: Decimal | None, prices: PriceList, besides: str) -> str:
    if minute is None:
        return f"{what} is billed by time: {UNKNOWN} ({prices.why})"

    return f"{what} is billed by time: at most {minute:.4f} USD a minute ({besides})"


def _of_duration(what: str, milliseconds: int | None, minute: Decimal | None, prices: PriceList) -> str:
    if milliseconds is None:
        return f"{what}: {UNKNOWN} (nobody says for how long it ran)"

    ran = f"{what}: {milliseconds / 1000:.1f} s"

    if minute is None:
        return f"{ran}: {UNKNOWN} ({prices.why})"

    return f"{ran}: {minute * milliseconds / 60_000:.4f} USD"


def _region(executor: BraketExecutor) -> str:
    return executor.region or os.environ.get("AWS_DEFAULT_REGION", "")


class PriceList:
    """What things cost, as far as the list could be had.

    Attributes:
        why: Why a price is unknown.
    """

    def __init__(self, rows: list[dict[str, str]], why: str) -> None:
        self._rows = rows
        self.why = why

    @property
    def is_empty(self) -> bool:
        """Whether there is no price in it at all."""
        return not self._rows

    def one(self, region: str, **columns: str) -> Decimal | None:
        """Return the price of the only product that fits, None if there is none or more than one."""
        row = self._row(region, columns)
        return None if row is None else Decimal(row["PricePerUnit"])

    def minute(self, region: str, **columns: str) -> Decimal | None:
        """Return what a minute of something costs."""
        row = self._row(region, columns)

        if row is None or row.get("Unit", "").lower() not in MINUTES:
            return None

        return Decimal(row["PricePerUnit"]) * MINUTES[row["Unit"].lower()]

    def _row(self, region: str, columns: dict[str, str]) -> dict[str, str] | None:
        wanted = {"Region Code": region, "Currency": "USD", **columns}
        found = [row for row in self._rows if all(row.get(name) == value for name, value in wanted.items())]
        return found[0] if len(found) == 1 else None


def price_list() -> PriceList:
    """Return the list; one that cannot be had is empty, and says why."""
    try:
        rows = _download(os.environ.get("BRAKET_PRICE_OFFERS_URL", PRICES))
    except (OSError, ValueError, csv.Error) as error:
        return PriceList([], f"the price list cannot be had: {error}")

    return PriceList(rows, "the price list has no single price for it")


@lru_cache(maxsize=4)
def _download(url: str) -> list[dict[str, str]]:
    with urllib.request.urlopen(url, timeout=LIST_SECONDS) as answer:  # noqa: S310  (the address is the user's own)
        lines = io.StringIO(answer.read().decode()).readlines()

    return list(csv.DictReader(lines[PREAMBLE:]))
