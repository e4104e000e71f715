"""How much of a machine a job gets: what Fargate and EC2 take, and what is nearest to what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from covalent_core.errors import ExecutorOptionError

#: What Fargate takes: by vCPUs the sizes of memory in MiB.
FARGATE: Mapping[float, tuple[int, ...]] = {
    0.25: (512, 1024, 2048),
    0.5: tuple(range(1024, 4096 + 1, 1024)),
    1: tuple(range(2048, 8192 + 1, 1024)),
    2: tuple(range(4096, 16384 + 1, 1024)),
    4: tuple(range(8192, 30720 + 1, 1024)),
    8: tuple(range(16384, 61440 + 1, 4096)),
    16: tuple(range(32768, 122880 + 1, 8192)),
    32: (61440, 122880, 249856),
}

#: The least memory, in MiB, that a container on EC2 may have.
EC2_LEAST = 4


@dataclass(frozen=True)
class Resources:
    """What a job gets.

    Attributes:
        vcpu: How many processors.
        memory: How much memory, in MiB.
        gpus: How many GPUs.
    """

    vcpu: float
    memory: int
    gpus: int = 0

    @property
    def requirements(self) -> list[dict[str, str]]:
        """As a job definition says it."""
        found = [{"type": "VCPU", "value": f"{self.vcpu:g}"}, {"type": "MEMORY", "value": str(self.memory)}]
        return found + ([{"type": "GPU", "value": str(self.gpus)}] if self.gpus else [])


def fitted(platform: str, vcpu: float, memory: float, gpus: int) -> Resources:
    """Return the least that a platform has and that is not less than what was asked for.

    Args:
        platform: ``EC2`` or ``FARGATE``.
        memory: In GiB.

    Raises:
        ExecutorOptionError: It has nothing like that.
    """
    wanted = math.ceil(memory * 1024)

    if platform == "EC2":
        return Resources(max(1, math.ceil(vcpu)), max(EC2_LEAST, wanted), gpus)

    if gpus:
        raise ExecutorOptionError("num_gpus: Fargate has no GPUs; name a queue whose compute environments are on EC2")

    found = next((size for size in FARGATE if size >= vcpu), None)

    if found is None:
        raise ExecutorOptionError(f"vcpu is {vcpu:g}, and Fargate has {max(FARGATE):g} at most; name a queue on EC2")

    for size in FARGATE[found]:
        if size >= wanted:
            return Resources(found, size)

    nearest = next((f"vcpu={size:g}" for size in FARGATE if max(FARGATE[size]) >= wanted), "a queue on EC2")
    most = max(FARGATE[found]) / 1024
    raise ExecutorOptionError(
        f"memory is {memory:g} GB with vcpu={vcpu:g}, and Fargate gives {found:g} vCPUs {most:g} GB at most; "
        f"the nearest are memory={most:g}, or {nearest}"
    )
