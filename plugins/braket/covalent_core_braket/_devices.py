"""What Braket says about its devices: whether they take work now, and in which form."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any

from covalent_core_braket._account import Account
from covalent_core_braket.errors import BraketJobError

#: Seconds for which what was said holds.
FRESH_SECONDS = 60.0

#: What a device calls the action that is many programs in one quantum task.
PROGRAM_SET = "braket.ir.openqasm.program_set"


class Devices:
    """The devices of an account's region, asked for no oftener than once a minute."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    async def get(self, arn: str) -> dict[str, Any]:
        """Return what GetDevice says."""
        asked, answer = self._known.get(arn, (float("-inf"), {}))

        if time.monotonic() - asked > FRESH_SECONDS:
            answer = await self._account.ask("braket", "GetDevice", deviceArn=arn)
            self._known[arn] = (time.monotonic(), answer)

        return answer

    async def check(self, arn: str) -> dict[str, Any]:
        """Return what GetDevice says of a device that has not been retired; all else is for Braket to refuse.

        Raises:
            BraketJobError: It has been.
        """
        device = await self.get(arn)

        if device["deviceStatus"] == "RETIRED":
            raise BraketJobError(f"{device['deviceName']} ({arn}) is retired; name another device", retry=False)

        return device

    async def waiting(self, arn: str) -> str:
        """Say why a device does not run what it has taken, nothing if it does."""
        device = await self.get(arn)
        reason = device.get("deviceStatusReason", {})
        until = f" until {_clock(reason['estimatedEndAt'])}" if reason.get("estimatedEndAt") else ""
        name = device["deviceName"]

        if reason.get("reason") == "OUTSIDE_AVAILABILITY_WINDOW":
            return f"{name} is closed{until or _opening(device)}"

        if reason.get("reason") == "MAINTENANCE":
            return f"{name} is being maintained{until}"

        if reason.get("reason") == "RESERVATION":
            return f"{name} is reserved by others{until}"

        status = device["deviceStatus"]
        return "" if status == "ONLINE" else f"{name} is {status.lower()}{until}"


def takes_program_sets(device: dict[str, Any]) -> bool:
    """Return whether a device takes many circuits as one quantum task."""
    return PROGRAM_SET in json.loads(device["deviceCapabilities"]).get("action", {})


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _opening(device: dict[str, Any]) -> str:
    """Say when a device opens, by its windows, where they are the same every day."""
    windows = json.loads(device["deviceCapabilities"]).get("service", {}).get("executionWindows", [])
    daily = [window["windowStartHour"][:5] for window in windows if window["executionDay"] == "Everyday"]
    return f" until {min(daily)} UTC" if daily else ""
