"""Job definitions: named after all that they say, found again, and removed only if nobody needs them."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws
from probes import ending

from covalent_core_awsbatch import AWSBatchExecutor
from covalent_core_awsbatch._definition import Definition
from covalent_core_awsbatch._resources import Resources

TASKS = work.tasks()
PLAIN = {"image": "python:3", "platform": "FARGATE", "resources": Resources(1, 2048), "grace": 5.0}

#: A change of anything is another definition.
CHANGES: list[dict[str, Any]] = [
    {"image": "python:3.12"},
    {"platform": "EC2"},
    {"resources": Resources(2, 4096)},
    {"grace": 60.0},
    {"python": "python"},
    {"time_limit": 600.0},
    {"execution_role": "arn:aws:iam::1:role/execution"},
    {"job_role": "arn:aws:iam::1:role/job"},
    {"log_group": "tasks"},
    {"assign_public_ip": True},
    {"ephemeral_storage": 50},
    {"architecture": "ARM64"},
    {"shared_memory": 256},
    {"tags": {"team": "physics"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_the_name_depends_on_all_that_is_said(change: dict[str, Any]) -> None:
    plain, changed = Definition(**PLAIN).request, Definition(**PLAIN | change).request

    assert plain["jobDefinitionName"] != changed["jobDefinitionName"]
    assert plain == Definition(**PLAIN).request


def test_what_is_registered_has_no_secret_and_one_attempt() -> None:
    request = Definition(**PLAIN, time_limit=10.0).request
    (container,) = request["ecsProperties"]["taskProperties"][0]["containers"]

    assert request["retryStrategy"] == {"attempts": 1}
    # AWS takes no less than a minute, and is the net behind the runner.
    assert request["timeout"]["attemptDurationSeconds"] >= 60
    assert container["stopTimeout"] == 20
    assert "environment" not in container
    assert "X-Amz" not in container["command"][-1]
    assert len(container["command"][-1]) < 8192


@pytest.mark.long("many jobs of two dispatchers, while definitions are removed again and again")
def test_definitions_that_vanish_are_made_anew(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    homes = {setting: tmp_path / setting for setting in ("a", "b")}
    removals = threading.Thread(target=remove_definitions, args=(aws, stop := threading.Event()))
    removals.start()

    try:
        with ending(homes["a"]), ending(homes["b"]), ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            ran = {
                setting: pool.submit(work.run_in_another_home, other, options, setting, work.JOBS // 2)
                for setting, other in homes.items()
            }
            ends = {setting: found.result() for setting, found in ran.items()}
    finally:
        stop.set()
        removals.join()

    assert ends == {setting: [(setting, None)] * (work.JOBS // 2) for setting in homes}


def remove_definitions(aws: Aws, stop: threading.Event) -> None:
    """Do what two who clean up at the wrong moment would do, without the mercy of `purge`."""
    batch = aws.client("batch")

    while not stop.wait(0.3):
        for arn in aws.definitions():
            batch.deregister_job_definition(jobDefinition=arn)


def test_purge_spares_what_is_in_use(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    name = "covalent-core-nobody-uses-this"
    container = {"image": "python:3", "resourceRequirements": [{"type": "VCPU", "value": "1"}]}
    container["resourceRequirements"].append({"type": "MEMORY", "value": "2048"})  # type: ignore[attr-defined]
    batch = aws.client("batch")
    batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=container)
    batch.register_job_definition(jobDefinitionName="foreign", type="container", containerProperties=container)
    executor = AWSBatchExecutor(**options, poll_freq=1.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), "all")
    work.until_begun(tmp_path)
    (job,) = batch.describe_jobs(jobs=[work.node(dispatch_id)["job_handle"]])["jobs"]
    gone = executor.purge()
    (tmp_path / "go").touch()

    assert any(name in arn for arn in gone)
    assert job["jobDefinition"] not in gone
    assert any("foreign" in arn for arn in aws.definitions())
    assert work.end(dispatch_id).result == "all"


def test_a_revision_of_somebody_else_is_not_run(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**options, poll_freq=1.0, tags={"test": tmp_path.name})
    assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "first")).result == "first"
    batch = aws.client("batch")
    pages = batch.get_paginator("describe_job_definitions").paginate(status="ACTIVE")
    (ours,) = [
        known
        for page in pages
        for known in page["jobDefinitions"]
        if known.get("tags", {}).get("test") == tmp_path.name
    ]
    kept = ("jobDefinitionName", "type", "platformCapabilities", "ecsProperties")
    foreign = {name: ours[name] for name in kept if name in ours}
    foreign["ecsProperties"]["taskProperties"][0]["containers"][0]["command"] = ["false"]
    batch.register_job_definition(**foreign)

    assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "second")).result == "second"
