"""The door for tests: turn the knobs of an account, see what it holds and what was asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .account import Account
from .faults import Fault

if TYPE_CHECKING:
    from .server import Endpoint

BUCKET = "amazon-braket-tests"
ROLE = "AmazonBraketJobsExecutionRole"


def furnish(endpoint: Endpoint) -> None:
    """Make what an administrator has made: a bucket and a role for jobs."""
    endpoint.client("s3", "us-east-1").create_bucket(Bucket=BUCKET)
    trust = {"Version": "2012-10-17", "Statement": []}
    iam = endpoint.client("iam", "us-east-1")
    iam.create_role(RoleName=ROLE, Path="/service-role/", AssumeRolePolicyDocument=json.dumps(trust))


def knock(endpoint: Endpoint, path: str, body: bytes) -> Any:
    """Do what a test wants of an account: ``<access key>/<what>``."""
    access_key, _, what = path.partition("/")
    account = endpoint.account(access_key)
    said: Any = json.loads(body) if body else None

    with account.changed:
        change(account, what, said)
        account.changed.notify_all()

    return state(account)


def change(account: Account, what: str, said: Any) -> None:
    if what == "knobs":
        account.knobs.turn(said)
    elif what == "faults":
        account.faults[:] = [Fault(**fault) for fault in said]
    elif what == "device":
        account.devices[said["arn"]].change(said["fields"])
    elif what == "clear":
        account.knobs.hold_jobs = False

        for resource in (*account.jobs.values(), *account.tasks.values()):
            account.order_end(resource)
    elif what != "state":
        raise ValueError(f"there is no {what!r} behind this door")


def state(account: Account) -> dict[str, Any]:
    """Return the truth about an account, of this moment."""
    return {
        "jobs": [
            {
                **job.shown,
                "status": job.status,
                "container": job.process.pid if job.is_alive else None,
                "requirements": list(job.requirements),
            }
            for job in list(account.jobs.values())
        ],
        "tasks": [{**task.shown, "status": task.status} for task in list(account.tasks.values())],
        "calls": dict(account.calls),
        "refusals": list(account.refusals),
        "mistakes": list(account.mistakes),
        "faults": sum(fault.times for fault in account.faults),
    }
