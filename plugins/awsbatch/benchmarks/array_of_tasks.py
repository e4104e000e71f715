"""What a task costs on AWS Batch: no-op electrons, beside a bare boto3 loop that submits jobs and waits for them.

Runs on the endpoint of the tests; what is measured is what this side does and what it takes to start the containers.
The jobs of both start ``python3`` and fetch an object.
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


def measure_loop(aws: Aws) -> float:
    """Return how long a loop takes that has one definition, puts an object for each job, submits it, and polls."""
    batch, s3 = aws.client("batch"), aws.client("s3")
    start = time.perf_counter()
    requirements = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    execution = f"arn:aws:iam::{aws.client('sts').get_caller_identity()['Account']}:role/execution"
    container = {
        "image": "python:3",
        "command": ["python3", "-c", "import urllib.request, os; urllib.request.urlopen(os.environ['GET']).read()"],
        "resourceRequirements": requirements,
        "executionRoleArn": execution,
        "networkConfiguration": {"assignPublicIp": "DISABLED"},
    }
    definition = batch.register_job_definition(
        jobDefinitionName="bare", type="container", platformCapabilities=["FARGATE"], containerProperties=container
    )
    left = {submit(batch, s3, definition["jobDefinitionArn"], place) for place in range(TASKS)}

    while left:
        time.sleep(PAUSE)
        asked = sorted(left)

        for begin in range(0, len(asked), 100):
            jobs = batch.describe_jobs(jobs=asked[begin : begin + 100])["jobs"]
            assert all(job["status"] != "FAILED" for job in jobs), jobs
            left -= {job["jobId"] for job in jobs if job["status"] == "SUCCEEDED"}

    return time.perf_counter() - start


def submit(batch: Any, s3: Any, definition: str, place: int) -> str:
    key = f"bare-{place}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"0")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    overrides = {"environment": [{"name": "GET", "value": link}]}
    answer = batch.submit_job(jobName=key, jobQueue=QUEUE, jobDefinition=definition, containerOverrides=overrides)
    return str(answer["jobId"])


def measure(aws: Aws, folder: Path) -> None:
    os.environ |= {**aws.environment(), "COVALENT_CORE_HOME": f"{folder}/store", "COVALENT_CORE_IDLE_SECONDS": "1"}
    aws.queue(QUEUE, "FARGATE")
    aws.role("execution")
    aws.role("job")
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.region})
    options = {"s3_bucket_name": BUCKET, "batch_queue": QUEUE, "batch_execution_role_name": "execution"}
    options |= {"batch_job_role_name": "job", "container_image_uri": "python:3"}
    bare = measure_loop(aws)
    aws.clear_calls()
    tasks = measure_tasks({**options, "vcpu": 0.25, "memory": 0.5})

    print(f"{TASKS} jobs, on {len(os.sched_getaffinity(0))} processors")
    print(f"a task                 {1000 * tasks / TASKS:7.1f} ms   ({tasks:.1f} s together)")
    print(f"a bare boto3 loop      {1000 * bare / TASKS:7.1f} ms   ({bare:.1f} s together)")
    print(f"a task takes {tasks / bare:.2f} times as long")
    print("calls: ", ", ".join(f"{name} {number}" for name, number in sorted(aws.calls().items())))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        endpoint = Aws()

        try:
            measure(endpoint, Path(name))
        finally:
            endpoint.kill()
