"""One endpoint for all tests, an account there for each, and a home for each that dispatches something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws.client import Account, Endpoint
from probes import Stops, ending
from sharing import shared_endpoint

from covalent_core._client import spawn
from covalent_core.testing._warm import WarmDispatcher
from covalent_core_braket import _rates

pytest_plugins = ["budget"]


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Start what speaks Braket's API, and S3's."""
    folder = tmp_path_factory.getbasetemp()
    # All that were started together share one.
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    with shared_endpoint(folder / "endpoint") as found:
        yield found


@pytest.fixture
def account(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """Give a test an account that nobody has used, and lead every client there."""
    found = endpoint.account()

    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)

    # Nothing of whoever runs the tests.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return found


@pytest.fixture
def hybrid(account: Account) -> dict[str, Any]:
    """Return the options of an executor whose electrons are hybrid jobs."""
    return {"braket_job_execution_role_name": account.role, "s3_bucket_name": account.bucket, "region": account.region}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process ask as often as the endpoint allows, which is in less of a hurry than Amazon."""
    quick = {operation: (rate * 20, burst) for operation, (rate, burst) in _rates.QUOTAS.items()}
    monkeypatch.setattr(_rates, "QUOTAS", quick)
    monkeypatch.setattr(_rates, "_rates", {})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a test a store of its own, and so a dispatcher that it may kill."""
    folder = tmp_path / "store"
    monkeypatch.setenv("COVALENT_CORE_HOME", str(folder))
    monkeypatch.setenv("COVALENT_CORE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(spawn, "DetachedProcess", WarmDispatcher)

    with ending(folder):
        yield folder


@pytest.fixture
def stops(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """Give a test the named stops of the dispatchers that it will start."""
    found = Stops(tmp_path / "stops")
    monkeypatch.setenv("COVALENT_CORE_STOPS", str(found.folder))
    return found
