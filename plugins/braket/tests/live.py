"""For those who have an account: a circuit on SV1 and a small hybrid job, at Amazon itself. pytest does not collect it.

It costs a few cents, and takes some minutes::

    python tests/live.py --region us-east-1 --bucket amazon-braket-mine --role AmazonBraketJobsExecutionRole
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import covalent_core as ct
from covalent_core_braket import BraketExecutor, costs

SV1 = "arn:aws:braket:::device/quantum-simulator/amazon/sv1"


def bell() -> Any:
    from braket.circuits import Circuit

    return Circuit().h(0).cnot(0, 1)


def greet(name: str) -> str:
    print("hello", name)
    return name.upper()


def wait() -> None:
    print("waiting", flush=True)
    time.sleep(3600)


def run(executor: BraketExecutor, function: Any, *arguments: Any) -> None:
    """Run a function, and say what has become of it."""
    print(costs.expected(executor))
    result = ct.dispatch_sync(ct.lattice(function, executor=executor))(*arguments)
    node = result.get_node_result(0)
    print(function.__name__, result.status, result.error or result.result)
    print(costs.billed(executor, node["job_handle"]))


def cancel(executor: BraketExecutor) -> None:
    """Cancel a function that runs."""
    dispatch_id = ct.dispatch(ct.lattice(wait, executor=executor))()

    while "waiting" not in ct.get_result(dispatch_id).get_node_result(0)["stdout"]:
        time.sleep(2)

    ct.cancel(dispatch_id)
    print("wait", ct.get_result(dispatch_id, wait=True).status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--role", required=True)
    parser.add_argument("--profile")
    given = parser.parse_args()
    account = {"region": given.region, "s3_bucket_name": given.bucket, "profile": given.profile}
    hybrid = BraketExecutor(braket_job_execution_role_name=given.role, **account)
    run(BraketExecutor(device=SV1, shots=100, **account), bell)
    run(hybrid, greet, "braket")
    cancel(hybrid)
