"""What can be said about options before anything is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from covalent_core.errors import ExecutorOptionError

if TYPE_CHECKING:
    from covalent_core_braket._executor import BraketExecutor

IMAGE = re.compile(r"\d{10,14}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/.+:.+")
DEVICE = re.compile(r"arn:aws[a-z-]*:braket:([a-z0-9-]*):[0-9]*:device/.+")
RUN_SECONDS = (1, 432_000)
REFUSED = '{}[]<>\\|^~`%#"'


def check_options(executor: BraketExecutor) -> None:
    """Refuse what cannot work.

    Raises:
        ExecutorOptionError: An option does not fit, or two do not fit together.
    """
    if executor.braket_job_execution_role_name and executor.device:
        raise ExecutorOptionError(
            "BraketExecutor has a device, which runs the circuits that electrons return, and a role, with which "
            "electrons run as hybrid jobs; name one of them. The device of a hybrid job is quantum_device="
        )

    if executor.braket_job_execution_role_name or _is_far(executor.device):
        _check_bucket(executor)

    check_device("device", executor.device, executor.region)
    check_device("quantum_device", executor.quantum_device, executor.region)
    check_image(executor.ecr_image_uri, executor.region)
    _check_numbers(executor)


def _is_far(device: str | None) -> bool:
    return device is not None and not device.startswith("local:")


def _check_bucket(executor: BraketExecutor) -> None:
    if not executor.s3_bucket_name:
        raise ExecutorOptionError("BraketExecutor needs s3_bucket_name=, a bucket that is there; none is created")

    if found := sorted(set(REFUSED) & set(executor.s3_prefix)) or ["../"] * ("../" in executor.s3_prefix):
        raise ExecutorOptionError(f"s3_prefix is {executor.s3_prefix!r}; Braket refuses {' '.join(found)} in it")


def check_device(name: str, device: str | None, region: str | None) -> None:
    """Refuse what is no device, or one of another region.

    Raises:
        ExecutorOptionError: It is so.
    """
    if not _is_far(device):
        return

    match = DEVICE.fullmatch(str(device))

    if match is None:
        raise ExecutorOptionError(
            f"{name} is {device!r}, expected the ARN of a device, such as "
            f"arn:aws:braket:::device/quantum-simulator/amazon/sv1, or local:braket/braket_sv"
        )

    _check_region(name, match[1], region)


def check_image(image: str | None, region: str | None) -> None:
    """Refuse what is no image for hybrid jobs, or one of another region.

    Raises:
        ExecutorOptionError: It is so.
    """
    if image is None:
        return

    match = IMAGE.fullmatch(image)

    if match is None:
        raise ExecutorOptionError(
            f"ecr_image_uri is {image!r}, expected <account>.dkr.ecr.<region>.amazonaws.com/<name>:<tag>; Braket takes "
            f"images from ECR alone"
        )

    _check_region("ecr_image_uri", match[1], region)


def _check_region(name: str, found: str, region: str | None) -> None:
    # Amazon's own simulators are in all regions, and say none.
    if found and region and found != region:
        raise ExecutorOptionError(f"{name} is in {found} and region is {region!r}; both must be the same")


def _check_numbers(executor: BraketExecutor) -> None:
    least, most = RUN_SECONDS

    if not least <= executor.time_limit <= most:
        raise ExecutorOptionError(f"time_limit is {executor.time_limit}, expected seconds from {least} to {most:,}")

    if executor.shots < 0:
        raise ExecutorOptionError(f"shots is {executor.shots}, expected 0 or more")
