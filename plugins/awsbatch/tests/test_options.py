"""Options: what fits is rounded up, what does not is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from covalent_core.errors import ExecutorOptionError
from covalent_core_awsbatch import AWSBatchExecutor
from covalent_core_awsbatch._resources import FARGATE, Resources, fitted

NEEDED: dict[str, Any] = {"s3_bucket_name": "bucket", "batch_queue": "queue"}


@pytest.mark.parametrize(
    ("platform", "vcpu", "memory", "expected"),
    [
        ("FARGATE", 2.0, 3.75, Resources(2, 4096)),
        ("FARGATE", 0.1, 0.1, Resources(0.25, 512)),
        ("FARGATE", 3.0, 8.0, Resources(4, 8192)),
        ("FARGATE", 17.0, 1.0, Resources(32, 61440)),
        ("EC2", 0.5, 3.75, Resources(1, 3840)),
        ("EC2", 2.5, 0.001, Resources(3, 4)),
    ],
)
def test_resources_are_rounded_up(platform: str, vcpu: float, memory: float, expected: Resources) -> None:
    assert fitted(platform, vcpu, memory, 0) == expected


def test_what_is_rounded_is_one_of_the_pairs() -> None:
    for vcpu in FARGATE:
        for memory in (0.5, 1.5, 2.0):
            found = fitted("FARGATE", vcpu, memory, 0)
            assert found.memory in FARGATE[found.vcpu]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"retry_attempts": 3}, r"use .*|ct\.electron\(retries="),
    ({"cache_dir": "x"}, "nothing is kept"),
    ({"platform": "FARGATE", "vcpu": 0.25, "memory": 4.0}, "the nearest are memory=2, or vcpu=0.5"),
    ({"platform": "FARGATE", "vcpu": 64.0}, "32 at most"),
    ({"platform": "FARGATE", "num_gpus": 1}, "Fargate has no GPUs"),
    ({"platform": "FARGATE", "grace": 121.0}, "120 s after SIGTERM"),
    ({"platform": "FARGATE", "shared_memory": 128}, "an option of EC2 alone"),
    ({"platform": "EC2", "assign_public_ip": True}, "an option of Fargate alone"),
    ({"ephemeral_storage": 20}, "21 to 200"),
    ({"scheduling_priority": 10_000}, "0 to 9999"),
    ({"time_limit": 0.0}, "more than 0"),
    ({"vcpu": -1.0}, "more than 0"),
    ({"tags": {"a[0]": "b"}}, "none that AWS takes"),
    ({"tags": {f"t{number}": "" for number in range(48)}}, "AWS takes 47"),
    ({"tags": {"aws:x": "b"}}, "reserved"),
    ({"s3_prefix": "/a"}, "without '/'"),
    ({"batch_queue": ""}, "is empty"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ExecutorOptionError, match=words):
        AWSBatchExecutor(**NEEDED | given)
