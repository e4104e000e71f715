"""The filters and pages of SearchJobs, SearchQuantumTasks and SearchDevices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from .wire import ApiError

Item = dict[str, Any]
Known = dict[str, tuple[str, ...]]

OPERATORS: dict[str, Callable[[Any, list[Any]], bool]] = {
    "EQUAL": lambda value, wanted: value in wanted,
    "CONTAINS": lambda value, wanted: any(part in value for part in wanted),
    "LT": lambda value, wanted: value < wanted[0],
    "LTE": lambda value, wanted: value <= wanted[0],
    "GT": lambda value, wanted: value > wanted[0],
    "GTE": lambda value, wanted: value >= wanted[0],
    "BETWEEN": lambda value, wanted: wanted[0] <= value <= wanted[1],
}

_TIMES = ("LT", "LTE", "GT", "GTE", "BETWEEN", "EQUAL")

#: What may be searched for, and how. Source: the service model, SearchJobsFilter and its siblings.
JOBS: Known = {
    "jobName": ("EQUAL", "CONTAINS"),
    "deviceArn": ("EQUAL",),
    "createdAt": _TIMES,
    "jobArn": ("EQUAL",),
}
TASKS: Known = dict.fromkeys(("quantumTaskArn", "deviceArn", "jobArn", "status"), ("EQUAL",)) | {"createdAt": _TIMES}
DEVICES: Known = {"deviceArn": ("EQUAL",)}


def matching(items: Iterable[Item], filters: list[Item], known: Known) -> list[Item]:
    """Return the items that fit all filters.

    Raises:
        ApiError: A filter is for something that cannot be searched for, or not so.
    """
    for wanted in filters:
        operator = wanted.get("operator", "EQUAL")

        if operator not in known.get(wanted["name"], ()):
            raise ApiError("ValidationException", "Invalid filter", f"{wanted['name']} {operator}")

        if wanted["name"] == "jobArn" and "jobName" in known and len(filters) > 1:
            raise ApiError("ValidationException", "Invalid filter", "jobArn goes with no other filter")

    return [item for item in items if all(_fits(item.get(wanted["name"]), wanted) for wanted in filters)]


def _fits(value: Any, wanted: Item) -> bool:
    if value is None:
        return False

    values = [_moment(text) for text in wanted["values"]] if isinstance(value, dt.datetime) else wanted["values"]
    return OPERATORS[wanted.get("operator", "EQUAL")](value, values)


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ApiError("ValidationException", "Invalid filter", f"{text!r} is no time") from None

    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def page(items: list[Item], asked: Any, at_most: int) -> tuple[list[Item], dict[str, str]]:
    """Return a part of what was found, and the token for the next part.

    The token says after which item it goes on, so that what has come since takes no item's place.
    """
    size = min(asked.get("maxResults") or 100, at_most)
    token = asked.get("nextToken")
    start = 0

    if token is not None:
        places = [place for place, item in enumerate(items) if _name(item) == token]

        if not places:
            raise ApiError("ValidationException", "Invalid nextToken")

        start = places[0] + 1

    found = items[start : start + size]
    more = start + size < len(items)
    return found, {"nextToken": _name(found[-1])} if more else {}


def _name(item: Item) -> str:
    return str(item.get("jobArn") if "jobName" in item else item.get("quantumTaskArn") or item.get("deviceArn"))
