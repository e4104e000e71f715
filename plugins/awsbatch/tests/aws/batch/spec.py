"""The container of a job: what its definition says, with what SubmitJob overrides."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import require

Properties = dict[str, Any]


@dataclass
class ContainerSpec:
    """One container, wherever in the request it was written.

    Attributes:
        properties: The container as DescribeJobs shows it.
        overrides_length: How long the overrides are that ECS is given; it takes 8192 characters.
    """

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    resources: dict[str, float]
    job_role: str | None
    execution_role: str | None
    stop_timeout: float | None
    log_options: dict[str, str]
    init: bool
    properties: Properties = field(default_factory=dict)
    overrides_length: int = 0


def spec_of(definition: Properties, request: Properties) -> ContainerSpec:
    """Return the container that this request runs of this definition."""
    if "ecsProperties" in definition:
        return _of_task(definition, request)

    require("ecsPropertiesOverride" not in request, "ecsPropertiesOverride is only for definitions with ecsProperties")
    override = request.get("containerOverrides", {})
    container = _merged(definition["containerProperties"], override)
    return _spec(
        "default", container, container.get("jobRoleArn"), container.get("executionRoleArn"), override, request
    )


def _of_task(definition: Properties, request: Properties) -> ContainerSpec:
    require("containerOverrides" not in request, "containerOverrides cannot be used with ecsProperties")
    task = definition["ecsProperties"]["taskProperties"][0]
    container = task["containers"][0]
    name = container.get("name", "default")
    tasks = request.get("ecsPropertiesOverride", {}).get("taskProperties", [])
    overrides = tasks[0].get("containers", []) if tasks else []

    for override in overrides:
        require(
            override.get("name") == name, f"Container overrides name {override.get('name')} is not in the definition."
        )

    override = overrides[0] if overrides else {}
    return _spec(
        name, _merged(container, override), task.get("taskRoleArn"), task.get("executionRoleArn"), override, request
    )


def _merged(container: Properties, override: Properties) -> Properties:
    environment = {e["name"]: e["value"] for e in [*container.get("environment", []), *override.get("environment", [])]}
    needs = {r["type"]: r["value"] for r in _requirements(container) + _requirements(override)}
    merged = {**container, **{name: value for name, value in override.items() if name == "command"}}
    merged["environment"] = [{"name": name, "value": value} for name, value in environment.items()]
    merged["resourceRequirements"] = [{"type": type_, "value": value} for type_, value in needs.items()]
    return merged


def _requirements(container: Properties) -> list[dict[str, str]]:
    """What is asked for, with the old fields where the new ones say nothing."""
    needs = list(container.get("resourceRequirements", []))
    given = {need["type"] for need in needs}
    old = [("VCPU", container.get("vcpus")), ("MEMORY", container.get("memory"))]
    return needs + [{"type": t, "value": str(v)} for t, v in old if v is not None and t not in given]


def _spec(
    name: str,
    container: Properties,
    job_role: str | None,
    execution_role: str | None,
    override: Properties,
    request: Properties,
) -> ContainerSpec:
    parameters = request.get("parameters", {})
    logging = container.get("logConfiguration", {})
    return ContainerSpec(
        name=name,
        image=container["image"],
        command=[_with_parameters(word, parameters) for word in container.get("command", [])],
        environment={entry["name"]: entry["value"] for entry in container["environment"]},
        resources={need["type"]: float(need["value"]) for need in container["resourceRequirements"]},
        job_role=job_role,
        execution_role=execution_role,
        stop_timeout=container.get("stopTimeout"),
        log_options=logging.get("options", {}),
        init=container.get("linuxParameters", {}).get("initProcessEnabled", False),
        properties=container,
        overrides_length=_overrides_length(name, override),
    )


def _with_parameters(word: str, parameters: dict[str, str]) -> str:
    return re.sub(r"Ref::(\w+)", lambda found: parameters.get(found[1], found[0]), word)


def _overrides_length(name: str, override: Properties) -> int:
    """How long the overrides are in the request that Batch makes of ECS, with the variables that it adds."""
    added = {"AWS_BATCH_JOB_ID": "x" * 36, "AWS_BATCH_JQ_NAME": "x" * 20, "AWS_BATCH_CE_NAME": "x" * 20}
    environment = override.get("environment", []) + [{"name": name, "value": value} for name, value in added.items()]
    return len(json.dumps({"containerOverrides": [{**override, "name": name, "environment": environment}]}))
