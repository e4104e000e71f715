"""What Slurm's commands answer, of every version since 17. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

#: The job id, its state, why it is in it, and its name, which comes last because anything may stand in it.
SQUEUE_FORMAT = "%i|%T|%r|%j"
SACCT_FORMAT = "JobID,State,ExitCode,JobName%128"

#: What the name of an array ends with, after the ticket of its first job.
ARRAY = "-array"

_JOB_ID = re.compile(r"\d+(_\d+|_\[[^]]*\])?(\+\d+)?")
_FIELD = re.compile(r"(?:^| )([A-Z][A-Za-z/:]*)=")
_SCONTROL_NAME = re.compile(r" JobName=(.*) UserId=")
_LISTED_TOGETHER = re.compile(r"(\d+)_\[([\d,:-]+)(%\d+)?\]")

#: What a command says when the controller has not heard it.
_UNSENT = re.compile(r"Unable to contact slurm controller|Connection refused", re.IGNORECASE)

#: What a command says when nobody knows whether the controller has heard it, or when it will do so soon.
_UNCERTAIN = re.compile(
    r"Socket timed out|Zero Bytes were transmitted|Unexpected message received|Transport endpoint|backup controller|"
    r"controller .* standby|Slurm temporarily unable|Resource temporarily unavailable",
    re.IGNORECASE,
)


class JobRecord(NamedTuple):
    """A job, as Slurm knows it."""

    job_id: str
    state: str
    name: str
    reason: str = ""
    exit_code: str = ""


def key_of(record: JobRecord) -> str:
    """Return what no other job ever has: the name, or for an element of an array that of the array and its place."""
    element = record.job_id.partition("_")[2]
    return f"{record.name} {element}" if element else record.name


def ids_of(record: JobRecord) -> list[str]:
    """Return the ids of all jobs that Slurm lists as one: ``13_[3-5,9%2]`` are the elements of an array that wait."""
    found = _LISTED_TOGETHER.fullmatch(record.job_id)
    return (
        [f"{found[1]}_{number}" for part in found[2].split(",") for number in _range(part)]
        if found
        else [record.job_id]
    )


def belongs(name: str, ticket: str) -> bool:
    """Whether a job of this name can be the one with this ticket: it itself, or an array of the same dispatch."""
    return name == ticket or (name.endswith(ARRAY) and name.split("-")[:2] == ticket.split("-")[:2])


def parse_submission(output: str) -> str | None:
    """Return the job id that ``sbatch --parsable`` has printed, without the cluster that may follow it."""
    lines = output.split("\n")
    found = [line.split(";")[0].strip() for line in lines if re.fullmatch(r"\d+(;[^;\s]+)?", line.strip())]
    return found[-1] if found else None


def parse_squeue(output: str) -> list[JobRecord]:
    """Return the jobs in the output of squeue with `SQUEUE_FORMAT`; what login scripts have printed is left out."""
    found = []

    for line in output.splitlines():
        fields = line.split("|", 3)

        if len(fields) == 4 and _JOB_ID.fullmatch(fields[0].strip()):
            job_id, state, reason, name = (field.strip() for field in fields)
            found.append(JobRecord(job_id, _state(state), name, reason))

    return found


def parse_sacct(output: str) -> list[JobRecord]:
    """Return the jobs in the output of ``sacct -n -P`` with `SACCT_FORMAT`, without their steps."""
    found = []

    for line in output.splitlines():
        fields = line.split("|", 3)

        if len(fields) == 4 and _JOB_ID.fullmatch(fields[0].strip()):
            job_id, state, exit_code, name = (field.strip() for field in fields)
            found.append(JobRecord(job_id, _state(state), name, "", exit_code))

    return found


def parse_scontrol(output: str) -> list[JobRecord]:
    """Return the jobs in the output of ``scontrol show job --oneliner``."""
    found = []

    for line in output.splitlines():
        # A job can be named like a field: what stands in its name is none.
        named = _SCONTROL_NAME.search(line)
        parts = _FIELD.split(_SCONTROL_NAME.sub(" UserId=", line))[1:]
        fields: dict[str, str] = {}

        for key, value in zip(parts[::2], parts[1::2], strict=True):
            fields.setdefault(key, value.strip())

        if "JobState" in fields and "JobId" in fields:
            name, reason = named[1] if named else fields.get("JobName", ""), fields.get("Reason", "")
            found.append(
                JobRecord(_job_id(fields), _state(fields["JobState"]), name, reason, fields.get("ExitCode", ""))
            )

    return found


def is_unsent(stderr: str) -> bool:
    """Whether a command has failed before the controller could hear it."""
    return bool(_UNSENT.search(stderr)) and not is_uncertain(stderr)


def is_uncertain(stderr: str) -> bool:
    """Whether a command has failed and the controller may have heard it all the same."""
    return bool(_UNCERTAIN.search(stderr))


def _job_id(fields: Mapping[str, str]) -> str:
    """Return the id in the output of scontrol as the other commands write it."""
    array, elements = fields.get("ArrayJobId"), fields.get("ArrayTaskId", "")

    if array is None or not elements:
        return fields["JobId"]

    return f"{array}_{elements}" if elements.isdecimal() else f"{array}_[{elements}]"


def _range(text: str) -> range:
    """Return the numbers that ``7``, ``3-5`` or ``1-9:2`` stands for."""
    first, _, rest = text.partition("-")
    last, _, step = rest.partition(":")
    return range(int(first), int(last or first) + 1, int(step or 1))


def _state(text: str) -> str:
    """Return the state alone: ``CANCELLED by 1000`` and ``CANCELLED+`` are CANCELLED."""
    return text.split()[0].rstrip("+").upper() if text else ""
