"""The options of the executor that can be judged without AWS, and what has become of those of other engines."""

from __future__ import annotations

from typing import Any

from covalent_core.errors import ExecutorOptionError
from covalent_core_awsbatch._definition import EPHEMERAL, stop_seconds
from covalent_core_awsbatch._resources import fitted
from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch._tags import check_tags

RETIRED = {
    "retry_attempts": (
        "would let AWS run a function again that has begun; say how often it may be tried with ct.electron(retries=…)"
    ),
    "cache_dir": "has no place here: nothing is kept on this machine",
    "poll_timeout": "has no place here: a job may take as long as it takes; longest_wait bounds its time in the queue",
    "credentials_file": "is called 'credentials' here",
}


def check(executor: Any) -> None:
    """Raise unless the options fit each other.

    Raises:
        ExecutorOptionError: They do not.
    """
    check_tags(executor.tags)
    _check_texts(executor)

    for name in ("vcpu", "memory", "time_limit", "longest_wait", "poll_freq", "answer_seconds"):
        value = getattr(executor, name)

        if value is not None and not 0 < value < float("inf"):
            raise ExecutorOptionError(f"{name} is {value:g}, expected more than 0")

    if executor.num_gpus < 0:
        raise ExecutorOptionError(f"num_gpus is {executor.num_gpus}, expected 0 or more")

    if executor.scheduling_priority is not None and not 0 <= executor.scheduling_priority <= 9999:
        raise ExecutorOptionError(f"scheduling_priority is {executor.scheduling_priority}, expected 0 to 9999")

    if executor.ephemeral_storage is not None and not EPHEMERAL[0] <= executor.ephemeral_storage <= EPHEMERAL[1]:
        least, most = EPHEMERAL
        raise ExecutorOptionError(
            f"ephemeral_storage is {executor.ephemeral_storage}, and Fargate has {least} to {most} GiB, 20 without it"
        )

    if executor.platform is not None:
        fitted(executor.platform, executor.vcpu, executor.memory, executor.num_gpus)
        stop_seconds(executor.platform, executor.grace)

    _check_platform(executor)


def role_arn(service: Service, name: str | None) -> str | None:
    """Return the ARN of a role of this account."""
    if name is None or name.startswith("arn:"):
        return name

    partition, account = service.identity["Arn"].split(":")[1], service.identity["Account"]
    return f"arn:{partition}:iam::{account}:role/{name}"


def _check_texts(executor: Any) -> None:
    for name in ("s3_bucket_name", "batch_queue", "container_image_uri", "python"):
        if not getattr(executor, name):
            raise ExecutorOptionError(f"{name} is empty")

    if not executor.s3_prefix.strip("/") or executor.s3_prefix != executor.s3_prefix.strip("/"):
        raise ExecutorOptionError(f"s3_prefix is {executor.s3_prefix!r}, expected a name without '/' at its ends")


def _check_platform(executor: Any) -> None:
    only = {
        "EC2": ("assign_public_ip", "ephemeral_storage", "architecture"),
        "FARGATE": ("shared_memory",),
    }

    for name in only.get(executor.platform, ()):
        if getattr(executor, name):
            other = "Fargate" if executor.platform == "EC2" else "EC2"
            raise ExecutorOptionError(f"{name} is an option of {other} alone, and platform is {executor.platform}")
