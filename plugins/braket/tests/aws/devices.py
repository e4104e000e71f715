"""The devices that there are, and what they say of themselves: schemas that the SDK can read."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

from .wire import ApiError

SV1 = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"
DM1 = "arn:aws:braket:::device/quantum-simulator/amazon/dm1"
ARIA = "arn:aws:braket:us-east-1::device/qpu/ionq/Aria-1"
ANKAA = "arn:aws:braket:us-west-1::device/qpu/rigetti/Ankaa-3"
GARNET = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
HARMONY = "arn:aws:braket:us-east-1::device/qpu/ionq/Harmony"

GATES = ["ccnot", "cnot", "cphaseshift", "cswap", "cz", "h", "i", "phaseshift", "rx", "ry", "rz", "s", "si", "swap"]
GATES += ["t", "ti", "x", "y", "z"]

#: The simulators are there in these.
SIMULATOR_REGIONS = ("us-east-1", "us-west-1", "us-west-2", "eu-west-2")


@dataclass
class Device:
    """A device as an account sees it.

    Attributes:
        status: ONLINE, OFFLINE, RETIRED or PAUSED.
        reason: Why, if it says so: OUTSIDE_AVAILABILITY_WINDOW, MAINTENANCE or RESERVATION.
        reason_ends: Until when, in seconds since 1970; 0 where it does not say.
        open: Whether it runs what is queued; outside of its window it does not.
        window: The hours of the day in which it is open, in UTC.
        queued: How many quantum tasks of others are queued, as it says.
    """

    arn: str
    provider: str
    status: str = "ONLINE"
    reason: str = ""
    reason_ends: float = 0.0
    open: bool = True
    window: tuple[str, str] = ("00:00:00", "23:59:59")
    queued: int = 0
    shots: tuple[int, int] = (1, 10_000)
    program_sets: bool = False
    qubits: int = 25
    price: tuple[float, str] = (0.03, "shot")

    def change(self, fields: dict[str, Any]) -> None:
        """Change some of what it is."""
        for name, value in fields.items():
            assert name in self.__dataclass_fields__, f"a device has no {name}"
            setattr(self, name, value)

    @property
    def name(self) -> str:
        name = self.arn.rsplit("/", 1)[1]
        return name if self.is_qpu else name.upper()

    @property
    def is_qpu(self) -> bool:
        return "/qpu/" in self.arn

    def is_in(self, region: str) -> bool:
        """Whether it can be asked for in a region."""
        own = self.arn.split(":")[3]
        return region == own if own else region in SIMULATOR_REGIONS

    @property
    def summary(self) -> dict[str, Any]:
        """What SearchDevices says of it."""
        return {
            "deviceArn": self.arn,
            "deviceName": self.name,
            "providerName": self.provider,
            "deviceType": "QPU" if self.is_qpu else "SIMULATOR",
            "deviceStatus": self.status,
        }

    @property
    def status_reason(self) -> dict[str, Any]:
        """What GetDevice says of why it has its status."""
        if not self.reason:
            return {}

        ends = {"estimatedEndAt": dt.datetime.fromtimestamp(self.reason_ends, dt.timezone.utc)}
        now = dt.datetime.now(dt.timezone.utc)
        return {"deviceStatusReason": {"reason": self.reason, "updatedAt": now, **(ends if self.reason_ends else {})}}

    @property
    def capabilities(self) -> str:
        """What it can do, as JSON of a schema of its own."""
        schema = "ionq.ionq" if self.is_qpu else "simulators.gate_model_simulator"
        paradigm = "gate_model_qpu" if self.is_qpu else "simulators.gate_model_simulator"
        qpu = {"nativeGateSet": ["gpi"], "connectivity": {"fullyConnected": True, "connectivityGraph": {}}}

        return json.dumps(
            {
                "braketSchemaHeader": _header(f"{schema}_device_capabilities"),
                "service": self._service,
                "action": self._actions,
                "paradigm": {
                    "braketSchemaHeader": _header(f"{paradigm}_paradigm_properties"),
                    "qubitCount": self.qubits,
                    **(qpu if self.is_qpu else {}),
                },
                "deviceParameters": {},
            }
        )

    @property
    def _service(self) -> dict[str, Any]:
        start, end = self.window
        price, unit = self.price

        return {
            "braketSchemaHeader": _header("device_service_properties"),
            "executionWindows": [{"executionDay": "Everyday", "windowStartHour": start, "windowEndHour": end}],
            "shotsRange": list(self.shots),
            "deviceCost": {"price": price, "unit": unit},
            "deviceDocumentation": {"imageUrl": "", "summary": "", "externalDocumentationUrl": ""},
            "deviceLocation": "",
            "updatedAt": "2026-01-01T00:00:00.000000",
        }

    @property
    def _actions(self) -> dict[str, Any]:
        program = {"version": ["1"], "supportedOperations": GATES, "supportedResultTypes": []}
        actions: dict[str, Any] = {}

        for action in ("braket.ir.openqasm.program", "braket.ir.jaqcd.program"):
            actions[action] = {"actionType": action, **program}

        if self.program_sets:
            most = {"maximumExecutables": 100, "maximumTotalShots": 100_000}
            action = "braket.ir.openqasm.program_set"
            actions[action] = {"actionType": action, "version": ["1"], **most}

        return actions


def _header(name: str) -> dict[str, str]:
    return {"name": f"braket.device_schema.{name}", "version": "1"}


def for_a_new_account() -> dict[str, Device]:
    """Return all devices by their ARNs, as they are on a good day."""
    simulator: dict[str, Any] = {"shots": (0, 100_000), "qubits": 34, "price": (0.075, "minute")}
    window = ("13:00:00", "02:00:00")
    found = (
        Device(SV1, "Amazon Braket", **simulator),
        Device(DM1, "Amazon Braket", **{**simulator, "qubits": 17}),
        Device(ARIA, "IonQ", queued=3, window=window),
        Device(ANKAA, "Rigetti", program_sets=True, qubits=82, price=(0.0009, "shot")),
        Device(GARNET, "IQM", program_sets=True, qubits=20, price=(0.00145, "shot")),
        Device(HARMONY, "IonQ", status="RETIRED"),
    )
    return {device.arn: device for device in found}


def usable(found: dict[str, Device], arn: str, region: str) -> Device:
    """Return the device that something is to run on.

    Raises:
        ApiError: There is none here, or it takes nothing.
    """
    device = found.get(arn)

    if device is None or not device.is_in(region):
        raise ApiError("ValidationException", "The device ARN is not valid.", f"{arn} is not in {region}")

    if device.status == "RETIRED":
        raise ApiError("DeviceRetiredException", f"Device {device.name} is retired.")

    if device.status in ("OFFLINE", "PAUSED"):
        raise ApiError("DeviceOfflineException", f"Device {device.name} is {device.status.lower()}.")

    return device
