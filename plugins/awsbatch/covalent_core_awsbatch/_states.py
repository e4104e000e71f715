"""What the states of AWS Batch mean, and what AWS says of the ends of jobs. Pure data and functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from covalent_core.backend import Alive, Look, Over, State, States

#: The states in which nothing runs any more.
OVER = ("SUCCEEDED", "FAILED")

TABLE = {
    "SUBMITTED": State("AWS Batch has it, and has not looked at it yet", waits=True),
    "PENDING": State("it waits for what it depends on", waits=True),
    "RUNNABLE": State("it waits in the queue", waits=True),
    "STARTING": State("its container is being started", waits=True),
    "RUNNING": State("it runs"),
    "SUCCEEDED": State("its container came to its end, and nothing is there of its task", over=True, retry=True),
    "FAILED": State("its container ended with an error", over=True, retry=True),
}

#: What the beginnings of reasons mean for which a job stays RUNNABLE; AWS gives one only to the first of a queue.
RUNNABLE = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": "AWS has no such instances at the moment",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": (
        "it asks for more than the compute environment may have (maxvCpus)"
    ),
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": (
        "no instance type of the compute environment has as much as vcpu, memory and num_gpus ask for"
    ),
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": (
        "the service role of the compute environment may not do what it has to"
    ),
    "UNDETERMINED": "AWS does not know why it waits",
}

STATES = States("AWS Batch job", TABLE)


class End(NamedTuple):
    """What a text of AWS means.

    Attributes:
        text: What stands in `statusReason` or in the reason of the container.
        words: In plain words, what is the case.
        retry: Whether another attempt may end otherwise.
    """

    text: str
    words: str
    retry: bool


#: The first that fits is the one: what is said more exactly comes first.
ENDS = (
    End("outofmemory", "it used more memory than it was given; ask for more with memory=", False),
    End("host ec2", "the machine that it ran on was taken away or failed", True),
    End("your spot task was interrupted", "its Fargate Spot capacity was taken back", True),
    End("spot interruption", "its spot capacity was taken back", True),
    End(
        "attempt duration exceeded",
        "its time limit was reached, and AWS ended it; ask for more with time_limit=",
        False,
    ),
    End("unable to assume the role", "AWS cannot use its role; look at the trust policy of the role", False),
    End("manifest unknown", "there is no such image; look at container_image_uri", False),
    End("manifest for", "there is no such image; look at container_image_uri", False),
    End("repository does not exist", "there is no such image; look at container_image_uri", False),
    End("exec format error", "its image is for another architecture; set architecture=, or use another image", False),
    End("toomanyrequests", "the registry gives no more images for now; use one in Amazon ECR", True),
    End(
        "no space left on device", "the disk of its machine is full; set ephemeral_storage=, or a larger volume", False
    ),
    End("cannotpull", "its image could not be pulled", True),
    End("container overrides length", "what is sent along with the job is too long for ECS", False),
    End("resourceinitializationerror", "what it needs could not be made ready, such as its network or log group", True),
    End("executable file not found", "its image has no such interpreter; set python=, or use another image", False),
    End("cannotstartcontainer", "its container could not be started", True),
    End("cannotcreatecontainer", "its container could not be created", True),
    End("cannotinspectcontainer", "the agent of its machine lost sight of its container", True),
    End("dockertimeout", "the container engine of its machine did not answer", True),
    End("task failed to start", "its container could not be started", True),
)

#: What the exit codes of the start command and the agent mean, and those of a shell or of ECS without our doing.
EXITS = {
    81: ("its ticket belongs to another job, or must not begin any more", False),
    82: ("its files could not be had from S3, or are gone; its log says why", True),
    83: (
        (
            "the links by which it gets its files had expired when it began, for it waited longer than the credentials "
            "that had signed them were good; set batch_job_role_name"
        ),
        True,
    ),
    84: ("its results could not be brought to S3; its log says why", True),
    86: ("its image has a Python older than 3.8", False),
    126: (
        'its image cannot run the start command; its ENTRYPOINT must pass its arguments on, as exec "$@" does',
        False,
    ),
    127: ("its image has no such interpreter; set python=, or use an image with Python 3.8 or newer", False),
    137: ("its container was killed: by AWS, or because it needed more memory", True),
}


#: The exit codes of a process that was killed.
KILLED = (137, 143)

NOT_STARTED = (
    "its container ended without having run the start command; the ENTRYPOINT of its image must pass its arguments on, "
    'as exec "$@" does, and the image needs Python 3.8 or newer'
)


@dataclass(frozen=True)
class Record:
    """What DescribeJobs says of a job.

    Attributes:
        reason: What AWS says of the job, and after that of its container.
        ordered: Whether an order to end it was accepted, whoever gave it.
        created: When it came to the queue, in seconds since 1970.
        summary: Of an array: how many of its children are in which state.
    """

    job_id: str
    state: str
    name: str = ""
    reason: str = ""
    exit_code: int | None = None
    ordered: bool = False
    created: float = 0.0
    started: bool = False
    log_stream: str = ""
    summary: Mapping[str, int] | None = None
    size: int = 0


def read(detail: Mapping[str, Any]) -> Record:
    """Return what DescribeJobs says."""
    containers = _containers(detail)
    array = detail.get("arrayProperties") or {}
    reasons = [detail.get("statusReason"), *(container.get("reason") for container in containers)]
    exits = [container["exitCode"] for container in containers if container.get("exitCode") is not None]
    streams = [container["logStreamName"] for container in containers if container.get("logStreamName")]
    return Record(
        job_id=detail["jobId"],
        state=detail.get("status", ""),
        name=detail.get("jobName", ""),
        reason="; ".join(dict.fromkeys(str(reason) for reason in reasons if reason)),
        exit_code=exits[-1] if exits else None,
        ordered=bool(detail.get("isTerminated") or detail.get("isCancelled")),
        created=(detail.get("createdAt") or 0) / 1000,
        started=bool(detail.get("startedAt")),
        log_stream=streams[-1] if streams else "",
        summary=array.get("statusSummary"),
        size=array.get("size") or 0,
    )


def look_of(record: Record) -> Look:
    """Return what a record shows of its job."""
    if record.state in OVER:
        return Over(record.state, record.reason, record.exit_code)

    if record.state == "RUNNABLE" and record.reason:
        return Alive(record.state, waiting(record))

    # Where nothing holds a job up there is nothing to say of a job that is about to start.
    return STATES.look(record.job_id, record.state) if record.state == "RUNNABLE" else Alive(record.state)


def waiting(record: Record) -> str:
    """Say why a job stays RUNNABLE."""
    words = next((words for text, words in RUNNABLE.items() if record.reason.startswith(text)), "it waits in the queue")
    return f"AWS Batch job {record.job_id} is RUNNABLE and does not start: {words} ({record.reason})"


def explain(record: Record, *, ours: bool = False, begun: bool = True) -> tuple[str, bool]:
    """Say what has become of a job that left no result, and whether another attempt may end otherwise.

    Args:
        ours: Whether it was we who gave the order to end it.
        begun: Whether its start command has come so far that the job was won.
    """
    said = record.reason + (f", exit code {record.exit_code}" if record.exit_code is not None else "")
    begin = f"AWS Batch job {record.job_id} did not end by itself: "

    for end in ENDS:
        if end.text in record.reason.lower():
            return f"{begin}{end.words} ({said})", end.retry

    if record.exit_code in EXITS:
        words, retry = EXITS[record.exit_code]
        return f"{begin}{words} ({said})", retry

    if record.ordered and not ours:
        return f"{begin}somebody has ended it at AWS ({said or 'no reason is given'})", False

    if not begun and record.exit_code is not None and record.exit_code not in KILLED:
        return f"{begin}{NOT_STARTED} ({said})", False

    meant = STATES.meaning(record.state)
    return f"{begin}{meant.words}" + (f" ({said})" if said else f" ({record.state})"), meant.retry


def _containers(detail: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is said of the containers of a job, those of its last attempt last."""
    found: list[Mapping[str, Any]] = []

    for holder in (*detail.get("attempts", ()), detail.get("ecsProperties") or {}):
        for task in holder.get("taskProperties", ()):
            found += task.get("containers", ())

    return found + [detail["container"]] * bool(detail.get("container"))
