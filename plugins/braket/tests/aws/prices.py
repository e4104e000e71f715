"""The price list, in the form of Amazon's: five lines about the file, the names of the columns, the products."""

from __future__ import annotations

import csv
import io

COLUMNS: tuple[str, ...] = ("SKU", "Region Code", "Product Family", "DeviceName", "Device Name", "Version", "operation")
COLUMNS += ("InstanceType", "Instance Type", "usageType", "PriceDescription", "Unit", "Currency", "PricePerUnit")

QPUS = {"Aria-1": ("us-east-1", "0.03"), "Ankaa-3": ("us-west-2", "0.0009"), "Garnet": ("eu-north-1", "0.00145")}
SIMULATORS = {"SV1": "0.075", "DM1": "0.075"}
INSTANCES = {"ml.m5.large": "0.115", "ml.m5.xlarge": "0.23", "ml.c5.xlarge": "0.204", "ml.g6.xlarge": "1.127"}
REGIONS = ("us-east-1", "us-west-2", "eu-west-2", "eu-north-1")

Product = dict[str, str]


def price_list(matches: str) -> str:
    """Return the list.

    Args:
        matches: How often each product is in it: ``one``, ``none`` or ``two``; ``broken`` for what is no list at all.
    """
    if matches == "broken":
        return "<html><body>Service Unavailable</body></html>"

    found = products() * {"one": 1, "none": 0, "two": 2}[matches]
    text = io.StringIO()
    text.write('"FormatVersion","v1.0"\n"Disclaimer","-"\n"Publication Date","2026-11-01T00:00:00Z"\n')
    text.write('"Version","20261101000000"\n"OfferCode","AmazonBraket"\n')
    table = csv.DictWriter(text, COLUMNS, restval="", quoting=csv.QUOTE_ALL)
    table.writeheader()

    for number, product in enumerate(found):
        table.writerow({"SKU": f"SKU{number}", "Currency": "USD", **product})

    return text.getvalue()


def products() -> list[Product]:
    """Return all there is."""
    found: list[Product] = []

    for name, (region, shot) in QPUS.items():
        for family, column in (("", "DeviceName"), ("Braket Managed Jobs QPU ", "Device Name")):
            task, shots = ("Task", "Task Shot") if family else ("Quantum Task", "Quantum Task-Shot")
            found.append(_product(region, family + task, "Task", "0.3", **{column: name}))
            found.append(_product(region, family + shots, "Shot", shot, **{column: name}))

    for region in REGIONS:
        for name, minute in SIMULATORS.items():
            alone = {"Version": name, "operation": "CompleteTask"}
            found.append(_product(region, "Simulator Task", "minutes", minute, **alone))
            in_job = {"Version": name, "operation": "Managed-Jobs"}
            found.append(_product(region, "Braket Managed Jobs Simulator Task", "minutes", minute, **in_job))

        for kind, hour in INSTANCES.items():
            found.append(_product(region, "Braket Managed Jobs", "hours", hour, **{"Instance Type": kind}))

    return found


def _product(region: str, family: str, unit: str, price: str, **columns: str) -> Product:
    return {"Region Code": region, "Product Family": family, "Unit": unit, "PricePerUnit": price, **columns}
