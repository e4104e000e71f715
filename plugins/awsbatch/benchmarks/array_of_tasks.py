"""What a task costs on AWS Batch: no-op electrons, beside bare boto3 loops that submit jobs and wait for them.

Runs on the endpoint of the tests, where all containers share the processors of this machine. So what they do is most of
what is seen, and there are two loops. The jobs of the first run the same bundles as the electrons do, fetched from S3,
and their outcomes go back there: the difference is what the executor adds. Those of the second start ``python3``, fetch
an object and are done.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "tests"), str(HERE.parents[3] / "tests")]

from aws import Aws  # noqa: E402

import covalent_core as ct  # noqa: E402
from covalent_core_awsbatch import AWSBatchExecutor  # noqa: E402

TASKS = int(os.environ.get("COVALENT_CORE_BENCHMARK_TASKS", "100"))
BUCKET, QUEUE = "tasks", "work"
PAUSE = 1.0


def nothing(x: int) -> int:
    return x


def measure_tasks(options: dict[str, Any]) -> float:
    """Return how long all tasks took together."""
    electron = ct.electron(nothing, executor=AWSBatchExecutor(**options))

    @ct.lattice
    def fan_out(count: int) -> list[int]:
        return [electron(place) for place in range(count)]

    start = time.perf_counter()
    result = ct.dispatch_sync(fan_out)(TASKS)
    seconds = time.perf_counter() - start
    assert result.result == list(range(TASKS)), result.error
    return seconds


#: A job that does no more than it must: both links are in its environment.
RUN_BUNDLE = """
import glob, os, subprocess, sys, urllib.request
open("bundle.pyz", "wb").write(urllib.request.urlopen(os.environ["GET"]).read())
subprocess.run([sys.executable, "bundle.pyz"], check=True)
outcome = open(glob.glob("results/*.outcome")[0], "rb").read()
headers = {"Content-Type": "application/octet-stream"}
urllib.request.urlopen(urllib.request.Request(os.environ["PUT"], outcome, headers, method="PUT"))
"""
FETCH = "import os, urllib.request; urllib.request.urlopen(os.environ['GET']).read()"


def measure_loop(aws: Aws, program: str, objects: list[bytes]) -> float:
    """Return how long a loop takes that has one definition, puts an object for each job, submits it, and polls."""
    batch, s3 = aws.client("batch"), aws.client("s3")
    start = time.perf_counter()
    definition = register(aws, batch, program)
    left = {submit(batch, s3, definition, place, content): place for place, content in enumerate(objects)}

    while left:
        time.sleep(PAUSE)
        asked = sorted(left)

        for begin in range(0, len(asked), 100):
            for job in batch.describe_jobs(jobs=asked[begin : begin + 100])["jobs"]:
                assert job["status"] != "FAILED", job

                if job["status"] == "SUCCEEDED":
                    place = left.pop(job["jobId"])

                    if program == RUN_BUNDLE:
                        s3.get_object(Bucket=BUCKET, Key=f"bare-{place}-out")["Body"].read()

    return time.perf_counter() - start


def register(aws: Aws, batch: Any, program: str) -> str:
    requirements = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    container = {
        "image": "python:3",
        "command": ["python3", "-c", program],
        "resourceRequirements": requirements,
        "executionRoleArn": f"arn:aws:iam::{aws.client('sts').get_caller_identity()['Account']}:role/execution",
        "networkConfiguration": {"assignPublicIp": "DISABLED"},
    }
    definition = batch.register_job_definition(
        jobDefinitionName="bare", type="container", platformCapabilities=["FARGATE"], containerProperties=container
    )
    return str(definition["jobDefinitionArn"])


def submit(batch: Any, s3: Any, definition: str, place: int, content: bytes) -> str:
    key = f"bare-{place}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    links = {
        "GET": s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}),
        "PUT": s3.generate_presigned_url(
            "put_object", Params={"Bucket": BUCKET, "Key": f"{key}-out", "ContentType": "application/octet-stream"}
        ),
    }
    overrides = {"environment": [{"name": name, "value": link} for name, link in links.items()]}
    answer = batch.submit_job(jobName=key, jobQueue=QUEUE, jobDefinition=definition, containerOverrides=overrides)
    return str(answer["jobId"])


def bundles(aws: Aws, options: dict[str, Any]) -> list[bytes]:
    """Return the bundles of all tasks: those of a dispatch that leaves its files where they are."""
    measure_tasks({**options, "cleanup": False})
    s3 = aws.client("s3")
    keys = [key for key in aws.objects(BUCKET) if key.endswith("/bundle.pyz")]
    assert len(keys) == TASKS
    return [s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys]


def measure(aws: Aws, folder: Path) -> None:
    os.environ |= {**aws.environment(), "COVALENT_CORE_HOME": f"{folder}/store", "COVALENT_CORE_IDLE_SECONDS": "1"}
    aws.queue(QUEUE, "FARGATE")
    aws.role("execution")
    aws.role("job")
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.region})
    options: dict[str, Any] = {"s3_bucket_name": BUCKET, "batch_queue": QUEUE, "batch_execution_role_name": "execution"}
    options |= {"batch_job_role_name": "job", "container_image_uri": "python:3"}
    options |= {"vcpu": 0.25, "memory": 0.5}
    same = measure_loop(aws, RUN_BUNDLE, bundles(aws, options))
    least = measure_loop(aws, FETCH, [b"0"] * TASKS)
    aws.clear_calls()
    tasks = measure_tasks(options)

    print(f"{TASKS} jobs, on {len(os.sched_getaffinity(0))} processors")
    print(f"a task                               {1000 * tasks / TASKS:7.1f} ms   ({tasks:.1f} s together)")
    print(f"a boto3 loop with the same bundles   {1000 * same / TASKS:7.1f} ms   ({same:.1f} s together)")
    print(f"a boto3 loop that runs no function   {1000 * least / TASKS:7.1f} ms   ({least:.1f} s together)")
    print(f"a task takes {tasks / same:.2f} times as long as with the first, {tasks / least:.2f} as with the second")
    print("calls: ", ", ".join(f"{name} {number}" for name, number in sorted(aws.calls().items())))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        endpoint = Aws()

        try:
            measure(endpoint, Path(name))
        finally:
            endpoint.kill()
