"""What Slurm's commands answer, of every version since 17. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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

#: The names that our jobs have.
_TICKET = re.compile(rf"ct-[0-9a-f]+-\d+-\d+({ARRAY})?")

#: What a command says when it has done nothing, and may do it later: the controller has not heard it, or does not know
#: who is speaking.
_UNSENT = re.compile(
    r"Unable to contact slurm controller|Connection refused|munge|authentication|Incompatible versions|"
    r"error while loading shared libraries",
    re.IGNORECASE,
)

#: What a command says when nobody knows whether the controller has heard it, or when it will do so soon.
UNCERTAIN = re.compile(
    r"Socket timed out|Zero Bytes were transmitted|Unexpected message received|Transport endpoint|backup controller|"
    r"controller .* standby|Slurm temporarily unable|Resource temporarily unavailable",
    re.IGNORECASE,
)


#: What scontrol says where there is no such job, or no such element of an array.
_NO_SUCH_JOB = re.compile(r"Invalid job id|Job \S+ not found", re.IGNORECASE)

#: What sbatch says where a user has as many jobs in the queue as he may.
_FULL = re.compile(r"MaxSubmit|MaxJobCount|job submit limit", re.IGNORECASE)


class JobRecord(NamedTuple):
    """A job, as Slurm knows it.

    Attributes:
        nodes: Where it runs or ran; empty if nowhere, None if that was not asked.
    """

    job_id: str
    state: str
    name: str
    reason: str = ""
    exit_code: str = ""
    nodes: str | None = None


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


def is_anothers(name: str, ticket: str) -> bool:
    """Whether a job of this name is certainly another one of ours. Users and sites may rename a job: that says nothing.

    A number is given again only when the job that had it is over.
    """
    return bool(_TICKET.fullmatch(name)) and not belongs(name, ticket)


def parse_squeue(output: str) -> list[JobRecord]:
    """Return the jobs in the output of squeue with `SQUEUE_FORMAT`; what login scripts have printed is left out."""
    return [JobRecord(job_id, state, name, reason) for job_id, state, reason, name in _rows(output)]


def parse_sacct(output: str) -> list[JobRecord]:
    """Return the jobs in the output of ``sacct -n -P`` with `SACCT_FORMAT`, without their steps."""
    return [JobRecord(job_id, state, name, "", exit_code) for job_id, state, exit_code, name in _rows(output)]


def _rows(output: str) -> Iterator[tuple[str, str, str, str]]:
    """Give the id of each job that is listed, its state, what comes then, and its name, which may have any letters."""
    for line in output.splitlines():
        fields = [field.strip() for field in line.split("|", 3)]

        if len(fields) == 4 and _JOB_ID.fullmatch(fields[0]):
            job_id, state, more, name = fields
            yield job_id, _state(state), more, name


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
            nodes = fields["NodeList"].replace("(null)", "") if "NodeList" in fields else None
            state, exit_code = _state(fields["JobState"]), fields.get("ExitCode", "")
            found.append(JobRecord(_job_id(fields), state, name, reason, exit_code, nodes))

    return found


def is_no_such_job(words: str) -> bool:
    """Whether scontrol says of the job that it was asked for that there is none."""
    return bool(_NO_SUCH_JOB.search(words))


def is_full(stderr: str) -> bool:
    """Whether sbatch was refused because there are too many jobs already."""
    return bool(_FULL.search(stderr))


def is_unsent(stderr: str) -> bool:
    """Whether a command has failed before the controller could carry it out, and may succeed later."""
    return bool(_UNSENT.search(stderr)) and not is_uncertain(stderr)


def is_uncertain(stderr: str) -> bool:
    """Whether a command has failed and the controller may have heard it all the same."""
    return bool(UNCERTAIN.search(stderr))


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
