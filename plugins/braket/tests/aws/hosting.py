"""Run a hybrid job in a container, and follow it to its end."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import image
from .account import Account, Resource, now
from .job_log import JobLog
from .roles import Roles

SCRIPTS = Path(__file__).parent


class HybridJob(Resource):
    """A hybrid job.

    Attributes:
        token: What its container shows as the job token.
        process: Its container.
        requirements: The files of requirements that the container would have installed.
    """

    process: subprocess.Popen[bytes] | None = None
    requirements: tuple[str, ...] = ()

    def __init__(self, *fields: Any) -> None:
        super().__init__(*fields)
        self.token = str(uuid.uuid4())

    @property
    def is_alive(self) -> bool:
        """Whether its container is there."""
        return self.process is not None and self.process.poll() is None

    def note(self, event: str, message: str = "") -> None:
        """Add an event."""
        self.shown["events"].append({"eventType": event, "timeOfEvent": now(), "message": message})


class Host:
    """Where containers run, and what they can reach.

    Args:
        client: Makes a client of an AWS service for a region.
        environment: How everything in a container finds this endpoint and S3 in place of Amazon's.
        folder: Where the files of containers are.
    """

    def __init__(
        self, client: Callable[[str, str], Any], environment: dict[str, str], folder: Path, roles: Roles
    ) -> None:
        self.client = client
        self.environment = environment
        self.folder = folder
        self.roles = roles
        self.python = image.build(folder / "image")

    def has_role(self, name: str) -> bool:
        """Return whether the account has a role."""
        iam = self.client("iam", "us-east-1")

        try:
            iam.get_role(RoleName=name)
        except iam.exceptions.NoSuchEntityException:
            return False

        return True


def live(account: Account, job: HybridJob, host: Host) -> None:
    """Bring a job to its end."""
    try:
        if account.wait(job, lambda: seconds_in_queue(account, job)):
            end(job, "CANCELLED")
        else:
            run(account, job, host)
    except Exception as error:
        account.mistakes.append(f"{job.arn}: {type(error).__name__}: {error}")
        end(job, "FAILED", f"InternalServiceError: {error}")


def seconds_in_queue(account: Account, job: HybridJob) -> float:
    """Return for how long a job still waits; infinite where none starts."""
    return math.inf if account.knobs.hold_jobs else account.knobs.job_queue_seconds - job.age


def end(job: HybridJob, status: str, reason: str = "") -> None:
    if reason:
        job.shown["failureReason"] = reason[:1024]

    job.note(status)
    job.become(status)


def run(account: Account, job: HybridJob, host: Host) -> None:
    root = Path(tempfile.mkdtemp(prefix="job-", dir=host.folder))

    for name in ("code/original", "code/extracted", "input/data", "input/config", "model", "checkpoints", "output"):
        (root / name).mkdir(parents=True)

    try:
        job.note("DOWNLOADING_DATA")

        if problem := download(job, host, root):
            end(job, "FAILED", problem)
            return

        contain(account, job, host, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def download(job: HybridJob, host: Host, root: Path) -> str:
    """Fetch code and data; return why the job cannot begin. That there is no code is for the container to find out."""
    s3 = host.client("s3", job.region)
    channels = {"": job.shown["outputDataConfig"]["s3Path"]}
    channels |= {
        channel["channelName"]: channel["dataSource"]["s3DataSource"]["s3Uri"]
        for channel in job.shown.get("inputDataConfig", [])
    }

    for name, uri in channels.items():
        bucket, prefix = split(uri)

        if problem := misplaced(s3, bucket, job.region):
            return problem

        if name:
            fetch_all(s3, bucket, prefix, root / "input" / "data" / name)

    bucket, key = split(job.shown["algorithmSpecification"]["scriptModeConfig"]["s3Uri"])

    try:
        s3.download_file(bucket, key, str(root / "code" / "original" / Path(key).name))
    except Exception as error:
        (root / "output" / "download").write_text(f"Unable to download code.\nException: {error}")

    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(job.shown.get("hyperParameters", {})))
    return ""


def misplaced(s3: Any, bucket: str, region: str) -> str:
    """Return what is wrong with the place of a bucket."""
    try:
        found = s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1"
    except s3.exceptions.ClientError as error:
        return f"ClientError: Data access for {bucket} failed: {error}"

    return "" if found == region else f"ClientError: The bucket {bucket} is in {found} and the job is in {region}."


def fetch_all(s3: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Fetch all objects below a prefix, or the one that has just this name."""
    folder.mkdir()

    for listed in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in listed.get("Contents", []):
            rest = found["Key"][len(prefix) :].lstrip("/") or Path(prefix).name
            file = folder / rest
            file.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, found["Key"], str(file))


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an S3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def contain(account: Account, job: HybridJob, host: Host, root: Path) -> None:
    """Start the container, wait for its end or end it, and say how it was."""
    command = [sys.executable, "-I", "-S", str(SCRIPTS / "container.py")]
    command += map(str, (host.python, SCRIPTS / "start_script.py", root))
    log = JobLog(host.client("logs", job.region), job.shown["jobName"], job.arn)
    pipe = subprocess.PIPE
    environment = container_environment(account, job, host, root)
    # Nothing of this process's own environment is there.
    job.process = subprocess.Popen(
        command, env=environment, cwd=root, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
    )
    job.note("RUNNING")
    job.become("RUNNING")
    log.follow(job.process.stdout)
    started = time.monotonic()
    over = wait(account, job, started + job.shown["stoppingCondition"]["maxRuntimeInSeconds"])
    log.close()
    job.shown["billableDuration"] = int((time.monotonic() - started) * 1000)
    conclude(account, job, host, root, over)


def wait(account: Account, job: HybridJob, deadline: float) -> str:
    """Wait for the end of a container; return why it was ended, if it was."""
    assert job.process is not None

    while job.process.poll() is None:
        cancelled = job.cancelled is not None and time.monotonic() - job.cancelled >= account.knobs.cancel_seconds

        if cancelled or time.monotonic() >= deadline:
            assert job.process.stdin is not None
            job.process.stdin.close()
            job.process.wait()
            return "CANCELLED" if cancelled else "MAX_RUNTIME_EXCEEDED"

        time.sleep(0.01)

    return ""


def conclude(account: Account, job: HybridJob, host: Host, root: Path, over: str) -> None:
    """Say how it ended. What is to be kept of its files goes to S3 only where it was not cancelled."""
    assert job.process is not None
    failure, requirements = root / "output" / "failure", root / "output" / "requirements"
    reason = failure.read_text(errors="replace") if failure.exists() else ""
    job.requirements = tuple(json.loads(requirements.read_text())) if requirements.exists() else ()

    # A cancel that was accepted wins over an end of its own.
    if over == "CANCELLED" or job.cancelled is not None:
        end(job, "CANCELLED")
    elif over:
        job.note(over)
        end(job, "FAILED", "The job has exceeded its maximum run time.")
    elif job.process.returncode:
        upload(job, host, root, model=False)
        end(job, "FAILED", f"AlgorithmError: Job at exit code {job.process.returncode}: {reason}")
    else:
        upload(job, host, root, model=True)
        end(job, account.knobs.setup_failure_status if reason else "COMPLETED", reason)


def upload(job: HybridJob, host: Host, root: Path, *, model: bool) -> None:
    """Store the checkpoints, and what the job has left as its model."""
    job.note("UPLOADING_RESULTS")
    s3 = host.client("s3", job.region)

    if "checkpointConfig" in job.shown:
        bucket, prefix = split(job.shown["checkpointConfig"]["s3Uri"])

        for file in (root / "checkpoints").rglob("*"):
            if file.is_file():
                s3.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(root / 'checkpoints')}")

    if model:
        bucket, prefix = split(job.shown["outputDataConfig"]["s3Path"])
        buffer = io.BytesIO()

        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(root / "model", ".")

        s3.put_object(Bucket=bucket, Key=f"{prefix}/output/model.tar.gz", Body=buffer.getvalue())


def container_environment(account: Account, job: HybridJob, host: Host, root: Path) -> dict[str, str]:
    """Return all that a container has as its environment."""
    script = job.shown["algorithmSpecification"]["scriptModeConfig"]
    bucket, prefix = split(job.shown["outputDataConfig"]["s3Path"])
    optional = {
        "AMZN_BRAKET_CHECKPOINT_S3_URI": job.shown.get("checkpointConfig", {}).get("s3Uri"),
        "AMZN_BRAKET_SCRIPT_COMPRESSION_TYPE": script.get("compressionType"),
    }

    return {
        "PATH": f"{host.python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(root),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "TRUE",
        "AWS_REGION": job.region,
        "AWS_DEFAULT_REGION": job.region,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": host.roles.offer(account, job.shown["roleArn"]),
        "AMZN_BRAKET_JOB_NAME": job.shown["jobName"],
        "AMZN_BRAKET_JOB_ARN": job.arn,
        "AMZN_BRAKET_JOB_TOKEN": job.token,
        "AMZN_BRAKET_DEVICE_ARN": job.shown["deviceConfig"]["device"],
        "AMZN_BRAKET_INPUT_DIR": str(root / "input" / "data"),
        "AMZN_BRAKET_JOB_RESULTS_DIR": str(root / "model"),
        "AMZN_BRAKET_CHECKPOINT_DIR": str(root / "checkpoints"),
        "AMZN_BRAKET_HP_FILE": str(root / "input" / "config" / "hyperparameters.json"),
        "AMZN_BRAKET_OUT_S3_BUCKET": bucket,
        "AMZN_BRAKET_JOB_RESULTS_S3_PATH": f"{prefix}/output",
        "AMZN_BRAKET_TASK_RESULTS_S3_URI": f"s3://{bucket}/jobs/{job.shown['jobName']}/tasks",
        "AMZN_BRAKET_SCRIPT_S3_URI": script["s3Uri"],
        "AMZN_BRAKET_SCRIPT_ENTRY_POINT": script["entryPoint"],
        **{name: value for name, value in optional.items() if value is not None},
        **host.environment,
    }
