"""What comes back from a far side: taken over if a runner can have written it, else the end of that node alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalent_core._dispatch.outcomes import add_output, take_over
from covalent_core._home import Home
from covalent_core._model.job import Job, TaskCall
from covalent_core._model.status import Status
from covalent_core._store.transitions import NodeEnd
from covalent_core._store.values import Values

HEADER = {"status": "COMPLETED", "error": None, "started": 1.0, "ended": 2, "stdout": "o", "stderr": "e", "file": False}

#: Node 0 alone, and a node beside it whose outcome is as it should be.
JOB = Job("d", "t", 0, (TaskCall(0, "first", b"", b""), TaskCall(1, "second", b"", b"")))

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=5,
)


def record(header: Any, content: bytes = b"value") -> bytes:
    return (header if isinstance(header, bytes) else json.dumps(header).encode()) + b"\n" + content


def ends_of(first: bytes) -> list[NodeEnd]:
    results = {"t.0.outcome": first, "t.1.outcome": record(HEADER)}
    return anyio.run(take_over, JOB, [0, 1], results, Values(Home(Path("/nowhere"))))


def refused(first: bytes) -> str:
    end, beside = ends_of(first)

    assert beside.status == Status.COMPLETED
    assert (end.status, end.step, end.output) == (Status.FAILED, "fetch", None)
    assert end.error is not None
    return end.error


def test_what_a_runner_writes_is_taken_over() -> None:
    end, _ = ends_of(record(HEADER))

    assert (end.status, end.output, end.started, end.ended) == (Status.COMPLETED, b"value", 1.0, 2)
    assert (end.stdout, end.stderr, end.error) == ("o", "e", None)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("status", "RUNNING", "'RUNNING', expected one of COMPLETED, FAILED, CANCELLED, TERMINATED, SKIPPED"),
        ("status", ["FAILED"], "['FAILED'], expected one of COMPLETED, FAILED, CANCELLED, TERMINATED, SKIPPED"),
        ("error", {"a": 1}, "{'a': 1}, expected text or null"),
        ("started", "today", "'today', expected seconds since 1970 or null"),
        ("started", True, "True, expected seconds since 1970 or null"),
        ("ended", None, "None, expected seconds since 1970"),
        ("ended", float("nan"), "nan, expected seconds since 1970"),
        ("ended", float("inf"), "inf, expected seconds since 1970"),
        ("ended", 10**12, "1000000000000, expected seconds since 1970"),
        ("stdout", None, "None, expected text"),
        ("stderr", 1, "1, expected text"),
        ("file", 0, "0, expected true or false"),
    ],
)
def test_a_header_that_no_runner_writes_fails_its_node_and_says_what_was_found(
    name: str, value: Any, found: str
) -> None:
    assert refused(record({**HEADER, name: value})) == f"what has come back is not an outcome: {name} is {found}"


@pytest.mark.parametrize("header", [b"", b"{", b"\xff", b"[" * 100_000, [1], 7, None])
def test_what_is_no_header_at_all_fails_its_node(header: Any) -> None:
    assert refused(record(header)).startswith("what has come back is not an outcome: ")


def test_an_outcome_without_its_value_fails_its_node() -> None:
    assert refused(record({**HEADER, "file": True})) == "the outcome names a value, and t.0.value is not there"
    assert refused(record(HEADER, b"")) == "the outcome says COMPLETED and holds no value"


@given(st.sampled_from(list(HEADER)), ANYTHING)
def test_whatever_is_in_a_header_the_store_can_take_what_is_made_of_it(name: str, value: Any) -> None:
    end = ends_of(record({**HEADER, name: value}))[0]

    if end.node_id == 0:
        assert end.status.terminal
        assert end.error is None or isinstance(end.error, str)
        assert end.started is None or 0 <= end.started < 1e12
        assert 0 <= end.ended < 1e12
        assert {type(end.stdout), type(end.stderr)} <= {str, type(None)}


def test_output_that_is_no_text_is_not_added_to_a_task_that_was_ended() -> None:
    end = NodeEnd(0, Status.CANCELLED)
    add_output(JOB, {"t.0.outcome": record({**HEADER, "stdout": ["o"]})}, [end])

    assert (end.stdout, end.stderr) == (None, None)
