"""A test takes at most ten seconds, or says why it takes longer: ``@pytest.mark.long("kills fifty dispatchers")``.

Of what fixtures prepare nothing is counted: most of it is shared, and would be charged to whoever comes first.
What takes long begins first, so that at the end nobody waits for it alone.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

SECONDS = 10.0
#: Tests run side by side with others, and some machines are slower.
SLACK = 2.0


def allowed_seconds() -> float:
    """Return how long a test may take by the clock, which says little on a machine on which many wait for a core."""
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return SECONDS * SLACK * max(1.0, waiting)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long(why): takes longer than ten seconds, so it is begun first")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    silent = [item.nodeid for item in items if any(not mark.args for mark in item.iter_markers("long"))]

    if silent:
        raise pytest.UsageError(f'{silent[0]} is marked as long and does not say why; write @pytest.mark.long("why")')

    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    allowed = allowed_seconds()

    if call.when == "call" and report.passed and report.duration > allowed and item.get_closest_marker("long") is None:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {report.duration:.1f} s; a test takes at most {SECONDS:g} s, on this "
            f'machine now {allowed:.0f} s. Make it faster, or say why it is long: @pytest.mark.long("why")'
        )

    return report
