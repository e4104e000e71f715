"""What AWS Batch refuses, with the limits that it has."""

from __future__ import annotations

import re
from typing import Any

from .errors import require

# vCPUs of Fargate, and the MiB that go with them: lowest, highest, step.
FARGATE_SIZES: dict[float, list[int]] = {
    0.25: [512, 1024, 2048],
    0.5: list(range(1024, 4097, 1024)),
    1: list(range(2048, 8193, 1024)),
    2: list(range(4096, 16385, 1024)),
    4: list(range(8192, 30721, 1024)),
    8: list(range(16384, 61441, 4096)),
    16: list(range(32768, 122881, 8192)),
    32: [61440, 122880, 249856],
}
MOST_STOP_TIMEOUT_ON_FARGATE = 120


def check_name(name: str, what: str) -> None:
    """Refuse names that AWS refuses."""
    good = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", name)
    require(good, f"{what} name should match valid pattern: {name!r}")


def check_tags(tags: dict[str, str]) -> None:
    """Refuse tags that AWS refuses."""
    require(len(tags) <= 50, "Too many tags: at most 50 are allowed")
    allowed = r"[A-Za-z0-9 +\-=._:/@]*"

    for key, value in tags.items():
        require(re.fullmatch(allowed, key) and 1 <= len(key) <= 128, f"Invalid tag key: {key!r}")
        require(re.fullmatch(allowed, value) and len(value) <= 256, f"Invalid tag value: {value!r}")
        require(not key.lower().startswith("aws:"), f"Tag keys may not start with aws: {key!r}")


def check_command(command: list[str]) -> None:
    """Refuse a command with an empty word."""
    require(all(command), "Command cannot be empty")


def check_environment(environment: list[dict[str, str]]) -> None:
    """Refuse variables that Batch sets itself."""
    for entry in environment:
        name = entry.get("name", "")
        require(name and not name.startswith("AWS_BATCH"), f"Environment variable {name!r} is reserved or empty.")


def check_timeout(timeout: dict[str, int]) -> None:
    """Refuse less than a minute."""
    seconds = timeout.get("attemptDurationSeconds", 60)
    require(seconds >= 60, "Job timeout attemptDurationSeconds must be at least 60 seconds")


def check_retries(strategy: dict[str, Any]) -> None:
    """Refuse what ``retryStrategy`` may not say."""
    require(1 <= strategy.get("attempts", 1) <= 10, "Retry attempts must be between 1 and 10")
    conditions = strategy.get("evaluateOnExit", [])
    require(len(conditions) <= 5, "At most 5 evaluateOnExit conditions are allowed")

    for condition in conditions:
        for key in ("onStatusReason", "onReason"):
            pattern = condition.get(key, "")
            require(re.fullmatch(r"[A-Za-z0-9.:\s]*\*?", pattern), f"Invalid pattern in {key}: {pattern!r}")

        code = condition.get("onExitCode", "")
        require(re.fullmatch(r"[0-9]*\*?", code), f"Invalid pattern in onExitCode: {code!r}")


def check_resources(resources: dict[str, float], fargate: bool) -> None:
    """Refuse sizes that there are not."""
    vcpus, memory = resources.get("VCPU"), resources.get("MEMORY")
    require(vcpus is not None, "Resource requirement VCPU is required.")
    require(memory is not None, "Resource requirement MEMORY is required.")
    assert vcpus is not None and memory is not None

    if fargate:
        require("GPU" not in resources, "GPU is not supported on Fargate.")
        pairs = FARGATE_SIZES.get(vcpus)
        require(pairs, f"VCPU value {vcpus:g} is not valid for Fargate. Valid: {[*FARGATE_SIZES]}")
        assert pairs is not None
        require(memory in pairs, f"Fargate resource requirements ({vcpus:g} vCPU, {memory:g} MiB) not valid.")
        return

    require(vcpus >= 1 and vcpus == int(vcpus), f"vCPUs must be a whole number of at least 1 on EC2, not {vcpus:g}")
    require(memory >= 4, f"Memory must be at least 4 MiB, not {memory:g}")


def check_container(container: dict[str, Any], task: dict[str, Any], fargate: bool) -> None:
    """Refuse a definition's container; ``task`` is where its roles, network and storage are said."""
    check_command(container.get("command", []))
    check_environment(container.get("environment", []))
    needs = {need["type"]: float(need["value"]) for need in container.get("resourceRequirements", [])}
    old = {"VCPU": container.get("vcpus"), "MEMORY": container.get("memory")}
    check_resources({**{key: float(value) for key, value in old.items() if value is not None}, **needs}, fargate)
    _check_storage(container, task, fargate)

    if "stopTimeout" in container:
        stop = container["stopTimeout"]
        require(stop >= 2, f"stopTimeout must be at least 2 seconds, not {stop}")
        within = not fargate or stop <= MOST_STOP_TIMEOUT_ON_FARGATE
        require(within, f"stopTimeout must be at most 120 seconds on Fargate, not {stop}")


def _check_storage(container: dict[str, Any], task: dict[str, Any], fargate: bool) -> None:
    linux = container.get("linuxParameters", {})

    if fargate:
        require(task.get("executionRoleArn"), "EXECUTION_ROLE_ARN is required for Fargate jobs.")
        require("sharedMemorySize" not in linux, "sharedMemorySize is not supported on Fargate.")
        require(not container.get("privileged"), "privileged is not supported on Fargate.")
        size = task.get("ephemeralStorage", {}).get("sizeInGiB", 21)
        require(21 <= size <= 200, f"ephemeralStorage must be between 21 and 200 GiB, not {size}")
        return

    for key in ("networkConfiguration", "fargatePlatformConfiguration", "ephemeralStorage", "platformVersion"):
        require(key not in task, f"{key} is only for Fargate jobs.")
