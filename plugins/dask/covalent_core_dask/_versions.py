"""Whether client, scheduler and workers can talk with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What has to be the same everywhere: the first as far as its minor version.
COMPARED = ("python", "distributed", "dask", "msgpack")

#: So many workers are named; the others would say the same.
MOST_SHOWN = 8


def differences(versions: Mapping[str, Any]) -> str:
    """Return a table of the versions that differ, empty if none do.

    Args:
        versions: What ``Client.get_versions`` returns; of a worker that has not answered there is None.
    """
    places: dict[str, Any] = {"client": versions["client"], "scheduler": versions["scheduler"], **versions["workers"]}
    found = {place: _compared(said) for place, said in places.items() if said}
    differing = [name for name in COMPARED if len({packages[name] for packages in found.values()}) > 1]

    if not differing:
        return ""

    rows = {place: packages for place, packages in found.items() if packages != found["client"]}
    shown = {"client": found["client"], **dict(list(rows.items())[:MOST_SHOWN])}
    lines = [["", *differing], *([place, *(packages[name] for name in differing)] for place, packages in shown.items())]
    return "\n".join(_aligned([[str(cell) for cell in line] for line in lines]))


def _compared(said: Mapping[str, Any]) -> dict[str, str]:
    packages = said["packages"]
    return {name: _significant(name, str(packages.get(name))) for name in COMPARED}


def _significant(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
