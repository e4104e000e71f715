"""Jobs for these tests, and what they report."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import cloudpickle

from covalent_core import Job
from covalent_core._model.job import TaskCall, Value

TICKET = "ct-a-1-0"


class Reports:
    """Keeps what the hooks report of a job."""

    def __init__(self) -> None:
        self.output: list[tuple[int, str, str]] = []
        self.results: list[Mapping[str, Value]] = []


def job_of(*node_ids: int, function: Any = len, args: tuple[Any, ...] = ("",)) -> tuple[Job, Reports]:
    """Return a job whose nodes all call one function, and what will be reported of it."""
    content, call, reports = cloudpickle.dumps(function), pickle.dumps((args, {})), Reports()
    tasks = tuple(TaskCall(node_id, "function", content, call) for node_id in node_ids)
    job = Job("a", TICKET, 0, tasks, grace=1.0)
    job._show = lambda *output: reports.output.append(output)
    job._take = reports.results.append
    return job, reports


def outcome(status: str = "COMPLETED", *, file: bool = False, content: bytes = b"", **header: Any) -> bytes:
    """Return an outcome as a runner leaves it."""
    return json.dumps({"status": status, "error": None, "file": file, **header}).encode() + b"\n" + content
