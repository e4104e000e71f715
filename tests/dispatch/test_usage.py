"""What a job costs: its executor says so, the store keeps it, the node shows it, and what is unknown is never 0."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from probes import kill_dispatcher, wait_until
from tasks import quick

import covalent_core as ct
from covalent_core import Usage
from covalent_core._model.job import Job, TaskCall

ESTIMATE = Usage("estimate", Decimal("3.30"), "USD", text="1 task, 100 shots")
RATE = Usage("at most", Decimal("0.075"), "USD", "minute")
BILLED = Usage("billed", Decimal("3.00"), "USD", text="90 shots")
UNKNOWN = Usage("unknown", text="the price list cannot be had: no answer")


@pytest.fixture(autouse=True)
def plugins(installed_examples: None) -> None:
    """Install the examples."""


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    folder = tmp_path / "backend"
    folder.mkdir()
    return folder


def tell(backend: Path, hook: str, *usages: Usage) -> None:
    (backend / hook).write_text("\n".join(f"usage {usage.as_text()}" for usage in usages))


def dispatch(backend: Path, task: Any = quick, **options: Any) -> str:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend)))
    def workflow(folder: Path) -> Any:
        return ct.electron(task, **options)(folder, "task")

    return ct.dispatch(workflow)(backend.parent)


def usage(dispatch_id: str) -> list[Usage]:
    found = ct.get_result(dispatch_id).get_node_result(0)["usage"]
    assert isinstance(found, list)
    return found


def end(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True, timeout=60)


def test_an_estimate_is_seen_while_it_runs_and_what_was_billed_when_it_has_ended(home: Path, backend: Path) -> None:
    tell(backend, "upload", ESTIMATE)
    tell(backend, "release", BILLED)
    (backend / "run").write_text("unreachable\n...")
    dispatch_id = dispatch(backend)
    wait_until(lambda: usage(dispatch_id) == [ESTIMATE])
    assert "[cost: estimate 3.30 USD (1 task, 100 shots)]" in str(ct.get_result(dispatch_id))

    (backend / "run").write_text("")
    assert end(dispatch_id).result == "task"
    assert usage(dispatch_id) == [BILLED]
    assert "[cost: billed 3.00 USD (90 shots)]" in str(ct.get_result(dispatch_id))


def test_what_was_said_survives_the_dispatcher(home: Path, backend: Path) -> None:
    tell(backend, "upload", RATE)
    (backend / "run").write_text("unreachable\n...")
    dispatch_id = dispatch(backend)
    wait_until(lambda: usage(dispatch_id) == [RATE])
    kill_dispatcher(home)
    (backend / "run").write_text("")

    assert end(dispatch_id).result == "task"
    assert usage(dispatch_id) == [RATE]


def test_what_is_unknown_says_why(home: Path, backend: Path) -> None:
    tell(backend, "release", UNKNOWN)
    result = end(dispatch(backend))

    assert result.get_node_result(0)["usage"] == [UNKNOWN]
    assert "[cost: unknown: the price list cannot be had: no answer]" in str(result)


def test_each_attempt_has_its_own(home: Path, backend: Path) -> None:
    def fail(folder: Path, name: str) -> None:
        raise ValueError("not today")

    tell(backend, "release", BILLED, RATE)
    result = end(dispatch(backend, fail, retries=1))

    assert sorted(map(str, result.get_node_result(0)["usage"])) == sorted([str(BILLED), str(RATE)])


def test_who_says_nothing_has_no_usage(home: Path, backend: Path) -> None:
    result = end(dispatch(backend))

    assert result.get_node_result(0)["usage"] == []
    assert "cost" not in str(result)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"kind": "free"}, "the kind of a usage is 'free'; it is one of estimate, at most, billed, unknown"),
        ({"kind": "billed"}, "has an amount of 0 or more, and a currency"),
        ({"kind": "billed", "amount": Decimal(1)}, "has an amount of 0 or more, and a currency"),
        ({"kind": "billed", "amount": Decimal(-1), "currency": "USD"}, "has an amount of 0 or more"),
        ({"kind": "estimate", "amount": Decimal("NaN"), "currency": "USD"}, "has an amount of 0 or more"),
        ({"kind": "unknown"}, "a text that says why"),
        ({"kind": "unknown", "amount": Decimal(0), "currency": "USD", "text": "why"}, "has no amount"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Usage(**parts)


@pytest.mark.parametrize("said", [ESTIMATE, RATE, BILLED, UNKNOWN])
def test_it_is_kept_as_it_is(said: Usage) -> None:
    assert Usage.of_text(said.as_text()) == said


def test_only_a_usage_is_reported() -> None:
    job = Job("d", "t", 0, (TaskCall(0, "", b"", b""),))

    with pytest.raises(TypeError, match="report_usage takes a Usage, not str"):
        job.report_usage("3 USD")  # type: ignore[arg-type]
