"""Against AWS itself, for who has an account: python live.py BUCKET QUEUE [EXECUTION_ROLE [JOB_ROLE]].

It runs half a dozen small jobs of at most two minutes, which cost a few cents on Fargate, and cancels one in each state
that it comes by. Each line that it prints begins with ``ok`` or ``NOT OK``. Nobody has run it yet.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import boto3

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

PATIENCE = 1200.0


def say(name: str, fine: object, found: object) -> None:
    print("ok    " if fine else "NOT OK", name, "" if fine else f": {found}", flush=True)


def until(condition: Callable[[], object]) -> None:
    latest = time.monotonic() + PATIENCE

    while not condition():
        assert time.monotonic() < latest, "it did not come about"
        time.sleep(2)


def check_results(executor: AWSBatchExecutor) -> None:
    @ct.electron(executor=executor)
    def square(x: int) -> int:
        print("output of", x)
        return x * x

    @ct.lattice
    def workflow() -> list[int]:
        return [square(x) for x in range(3)]

    result = ct.dispatch_sync(workflow)()
    say("an array of three brings its results", result.result == [0, 1, 4], result.error)
    outputs = {result.get_node_result(node_id)["stdout"] for name, node_id in result.nodes() if "square" in name}
    say("what tasks write comes back", outputs == {f"output of {x}\n" for x in range(3)}, outputs)


def check_failure(executor: AWSBatchExecutor) -> None:
    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return ct.electron(lambda: 1 / 0)()

    error = str(ct.dispatch_sync(workflow)().error)
    say("an exception comes back", "ZeroDivisionError" in error, error)


def check_cancel(executor: AWSBatchExecutor, *, running: bool) -> None:
    def sleep() -> None:
        import time

        print("begun", flush=True)
        time.sleep(600)

    @ct.lattice(executor=executor)
    def workflow() -> Any:
        return ct.electron(sleep)()

    dispatch_id = ct.dispatch(workflow)()
    until(lambda: ct.get_result(dispatch_id).get_node_result(0)["job_handle"])

    if running:
        until(lambda: "begun" in str(ct.get_result(dispatch_id).get_node_result(0)["stdout"]))

    began = time.monotonic()
    ct.cancel(dispatch_id)
    result = ct.get_result(dispatch_id, wait=True, timeout=PATIENCE)
    say(f"a job that {'runs' if running else 'waits'} is cancelled", result.status == Status.CANCELLED, result)
    print(f"       after {time.monotonic() - began:.0f} s")


def check_bucket(bucket: str) -> None:
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="covalent-core/").get("Contents", [])
    say("the bucket is empty", not found, [entry["Key"] for entry in found])


def main(bucket: str, queue: str, execution_role: str | None = None, job_role: str | None = None) -> None:
    for role in dict.fromkeys((job_role, None)):
        executor = AWSBatchExecutor(
            s3_bucket_name=bucket,
            batch_queue=queue,
            batch_execution_role_name=execution_role,
            batch_job_role_name=role,
            assign_public_ip=True,
            vcpu=0.25,
            memory=0.5,
            time_limit=120.0,
        )
        print(f"with the role {role}" if role else "by presigned links")
        check_results(executor)
        check_failure(executor)
        check_cancel(executor, running=False)
        check_cancel(executor, running=True)
        check_bucket(bucket)

    print("definitions that purge removes:", executor.purge())


if __name__ == "__main__":
    main(*sys.argv[1:])
