"""How a job may end otherwise than by its command, in AWS's words."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import Literal

EXITED = "Essential container in task exited"
_INSTANCE = "i-0123456789abcdef0"
_DAEMON = "Error response from daemon"


@dataclass(frozen=True)
class End:
    """One of those ends.

    Attributes:
        when: Before anything runs, in the middle, or after the command has done all that it had to do.
        status_reason: ``statusReason`` of the job.
        reason: ``reason`` of the container.
        exit_code: What DescribeJobs says, whatever the command's was; None is that it says none.
        warned: Process 1 gets SIGTERM and the stop timeout before it is killed.
        keeps_exit_code: The exit code is the command's.
        final: It is never tried again by Batch itself.
    """

    when: Literal["start", "running", "finished"]
    status_reason: str
    reason: str | None = None
    exit_code: int | None = None
    warned: bool = False
    keeps_exit_code: bool = False
    final: bool = False


ENDS: dict[str, End] = {
    "spot": End("running", f"Host EC2 (instance {_INSTANCE}) terminated."),
    "spot_fargate": End("running", "Your Spot Task was interrupted.", warned=True),
    "host_lost": End("running", f"Host EC2 (instance {_INSTANCE}) terminated."),
    "out_of_memory": End("running", EXITED, "OutOfMemoryError: Container killed due to memory usage", 137),
    "out_of_memory_0": End("running", EXITED, "OutOfMemoryError: Container killed due to memory usage", 0),
    "out_of_memory_1": End("running", EXITED, "OutOfMemoryError: Container killed due to memory usage", 1),
    "image_unknown": End(
        "start", "Task failed to start", f"CannotPullContainerError: {_DAEMON}: manifest unknown: manifest unknown"
    ),
    "image_timeout": End(
        "start", "Task failed to start", f"CannotPullContainerError: {_DAEMON}: net/http: TLS handshake timeout"
    ),
    "image_limit": End(
        "start",
        "Task failed to start",
        f"CannotPullContainerError: {_DAEMON}: toomanyrequests: You have reached your pull rate limit.",
    ),
    "disk_full": End(
        "start", "Task failed to start", "CannotPullContainerError: failed to register layer: no space left on device"
    ),
    "wrong_architecture": End(
        "start",
        "Task failed to start",
        f"CannotStartContainerError: {_DAEMON}: OCI runtime create failed: exec format error",
    ),
    "start_failed": End("start", "Task failed to start"),
    "docker_timeout": End(
        "start",
        "Task failed to start",
        "DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s",
    ),
    "role": End(
        "start",
        "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/job' that was provided for this task. "
        "Please verify that the role being passed has the proper trust relationship and permissions and that your IAM "
        "user has permissions to pass this role.",
    ),
    "no_network": End(
        "start",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
        "unable to retrieve ecr registry auth: service call has been retried 3 time(s)",
    ),
    "agent_timeout": End(
        "finished",
        "Task failed to start",
        "CannotInspectContainerError: Could not transition to inspecting; timed out after waiting 30s",
    ),
    "agent_timeout_stopped": End(
        "finished", EXITED, "DockerTimeoutError: Could not transition to stopped; timed out after waiting 2m0s"
    ),
    "failed_though_done": End("finished", EXITED, None, 1),
}
TIME_LIMIT = End("running", "Job attempt duration exceeded timeout", warned=True, keeps_exit_code=True, final=True)
OVERRIDES_TOO_LONG = End("start", "Container Overrides length must be at most 8192", final=True)
TOO_MANY_TAGS = End("start", "Too many tags: a task takes at most 50", final=True)


def cannot_pull(what: str) -> End:
    """Return the end of a job whose image is not to be had."""
    return replace(ENDS["image_unknown"], reason=f"CannotPullContainerError: {_DAEMON}: {what}")


def cannot_start(program: str) -> End:
    """Return the end of a job whose image does not have what the command starts."""
    text = f'exec: "{program}": executable file not found in $PATH: unknown'
    reason = f"CannotStartContainerError: {_DAEMON}: failed to create shim task: OCI runtime create failed: {text}"
    return replace(ENDS["start_failed"], reason=reason)


@dataclass
class Plan:
    """What is to become of jobs that are not there yet.

    Attributes:
        jobs: A pattern of the shell for the names of jobs.
        after: Seconds from RUNNING on, for ends in the middle.
        times: How many more attempts get it; None is all of them.
    """

    way: str
    jobs: str = "*"
    after: float = 0.0
    times: int | None = 1

    def takes(self, name: str) -> bool:
        """Whether this attempt is to end so; if it is, that counts."""
        if self.times == 0 or not fnmatch.fnmatchcase(name, self.jobs):
            return False

        if self.times is not None:
            self.times -= 1

        return True
