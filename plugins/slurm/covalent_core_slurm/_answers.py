"""What Slurm's commands answer, of every version since 17. Pure functions."""

from __future__ import annotations

import re
from typing import NamedTuple

#: The job id, its state, why it is in it, and its name, which comes last because anything may stand in it.
SQUEUE_FORMAT = "%i|%T|%r|%j"
SACCT_FORMAT = "JobID,State,ExitCode,JobName%128"

#: What the name of an array ends with, after the ticket of its first job.
ARRAY = "-array"

_JOB_ID = re.compile(r"\d+(_\d+|_\[[^]]*\])?(\+\d+)?")
_FIELD = re.compile(r"(?:^| )([A-Z][A-Za-z/:]*)=")
_SCONTROL_NAME = re.compile(r" JobName=(.*) UserId=")

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
            element = fields.get("ArrayTaskId", "")
            job_id = f"{fields['ArrayJobId']}_{element}" if element.isdecimal() else fields["JobId"]
            name, reason = named[1] if named else fields.get("JobName", ""), fields.get("Reason", "")
            found.append(JobRecord(job_id, _state(fields["JobState"]), name, reason, fields.get("ExitCode", "")))

    return found


def is_unsent(stderr: str) -> bool:
    """Whether a command has failed before the controller could hear it."""
    return bool(_UNSENT.search(stderr)) and not is_uncertain(stderr)


def is_uncertain(stderr: str) -> bool:
    """Whether a command has failed and the controller may have heard it all the same."""
    return bool(_UNCERTAIN.search(stderr))


def _state(text: str) -> str:
    """Return the state alone: ``CANCELLED by 1000`` and ``CANCELLED+`` are CANCELLED."""
    return text.split()[0].rstrip("+").upper() if text else ""
