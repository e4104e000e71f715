"""The commands that ask Slurm, and the one that ends jobs; and what their answers mean."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from covalent_core_slurm._answers import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    JobRecord,
    belongs,
    ids_of,
    is_anothers,
    is_no_such_job,
    is_uncertain,
    is_unsent,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from covalent_core_slurm._login_node import Finished, LoginNode
from covalent_core_slurm.errors import SlurmUnreachableError

#: How many jobs one command is given.
CHUNK = 500

#: Lists the elements of an array that are listed as one without leaving any out.
_WHOLE = "SLURM_BITSTR_LEN=0"

#: Asks for an array as a whole first: if there is none, there is no element of it.
_KNOWN = """
while read -r array elements; do
    shown=$(scontrol show job --oneliner "$array" 2>&1) || elements=
    printf '%s\\n' "$shown" | sed "s/^/$array /"
    for element in $elements; do scontrol show job --oneliner "$element" 2>&1 | sed "s/^/$element /"; done
done
"""


class Commands:
    """Slurm's commands on a login node."""

    def __init__(self, login_node: LoginNode) -> None:
        self._run = login_node.run

    async def jobs(self) -> list[JobRecord]:
        """Return all jobs of this user that the controller lists, those that are over too: one RPC.

        Raises:
            SlurmUnreachableError: It has not answered.
        """
        finished = await self._run(f'squeue -h -r -a -t all -u "$(id -un)" -o {shlex.quote(SQUEUE_FORMAT)}')

        if finished.status != 0:
            raise _unanswered("squeue", finished)

        return parse_squeue(finished.stdout.decode(errors="replace"))

    async def known(self, job_ids: Collection[str]) -> Mapping[str, JobRecord | None]:
        """Return what the controller says when it is asked for jobs by their ids: None if it has no such job.

        What it says nothing of is left out.

        Raises:
            SlurmUnreachableError: It has not answered.
        """
        finished = await self._run(f"{_WHOLE}; export SLURM_BITSTR_LEN; {_KNOWN}", "".join(_by_array(job_ids)).encode())
        said: dict[str, list[str]] = {}

        for line in finished.stdout.decode(errors="replace").splitlines():
            asked, _, words = line.partition(" ")
            said.setdefault(asked, []).append(words)

        return {job_id: record for job_id in job_ids for record in _told(job_id, said)}

    async def cancel(self, job_ids: Sequence[str], *, gently: bool = False) -> None:
        """Order the end of jobs, as few calls as possible.

        Args:
            gently: Send SIGTERM to their scripts alone, and nothing more.

        Raises:
            SlurmUnreachableError: The controller has not answered.
        """
        for begin in range(0, len(job_ids), CHUNK):
            how = "--batch --signal=TERM " if gently else ""
            names = " ".join(map(shlex.quote, job_ids[begin : begin + CHUNK]))
            finished = await self._run(f"scancel {how}{names}")

            # That one of them has ended meanwhile is an error for scancel, and none for us.
            if finished.status == 127 or is_unsent(words_of(finished)) or is_uncertain(words_of(finished)):
                raise _unanswered("scancel", finished)

    async def recall(self, jobs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], JobRecord | None]:
        """Return what is known of jobs that have ended: from the controller, one RPC, or else from the accounting.

        Args:
            jobs: The id and the ticket of each.

        Raises:
            SlurmUnreachableError: The controller has not answered.
        """
        shown = await self._shown([job_id for job_id, _ in jobs])
        found = {job: shown[job[0]] for job in jobs if job[0] in shown and not is_anothers(shown[job[0]].name, job[1])}
        known = await self._accounted(sorted({job[0] for job in jobs if job not in found}))
        # It also has jobs of before the controller began to count anew: only a name tells these from ours.
        found |= {job: known[job[0]] for job in jobs if job[0] in known and belongs(known[job[0]].name, job[1])}
        return {job: found.get(job) for job in jobs}

    async def _shown(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        # It shows one job or all of them: those of others need not come here.
        which = job_ids[0] if len(job_ids) == 1 else '| grep -F " UserId=$(id -un)("'
        finished = await self._run(f"{_WHOLE} scontrol show job --oneliner {which}")
        words = words_of(finished) + one_line(finished.stdout)

        # That grep finds none is no failure.
        if finished.status != 0 and words_of(finished) and not is_no_such_job(words):
            raise _unanswered("scontrol", finished)

        return _by_id(parse_scontrol(finished.stdout.decode(errors="replace")))

    async def _accounted(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        # An array stands for all its elements.
        numbers = sorted({job_id.partition("_")[0] for job_id in job_ids})
        found: dict[str, JobRecord] = {}

        for begin in range(0, len(numbers), CHUNK):
            names = ",".join(numbers[begin : begin + CHUNK])
            finished = await self._run(f"{_WHOLE} sacct -n -X -P -j {names} --format={shlex.quote(SACCT_FORMAT)}")
            # A cluster may have no accounting.
            found |= _by_id(parse_sacct(finished.stdout.decode(errors="replace"))) if finished.status == 0 else {}

        return found


def _told(job_id: str, said: Mapping[str, list[str]]) -> Iterator[JobRecord | None]:
    """Give what `_KNOWN` has printed of a job: None if there is no such job, and nothing if that is not known."""
    array = "\n".join(said.get(job_id.partition("_")[0], []))
    words = "\n".join(said.get(job_id, [])) or array
    record = _by_id(parse_scontrol(words)).get(job_id)

    if record is not None:
        yield record
    elif is_no_such_job(words):
        # Slurm forgets at once an element that is cancelled alone while it waits.
        yield next((_cancelled(job_id, other) for other in parse_scontrol(array)), None)


def _cancelled(job_id: str, other: JobRecord) -> JobRecord:
    return JobRecord(job_id, "CANCELLED", other.name)


def _by_array(job_ids: Collection[str]) -> Iterator[str]:
    """Return lines for `_KNOWN`: each array, or single job, and those of its elements that are asked for."""
    arrays: dict[str, list[str]] = {}

    for job_id in job_ids:
        array, _, element = job_id.partition("_")
        arrays.setdefault(array, []).extend([job_id] if element else [])

    return (" ".join([array, *elements]) + "\n" for array, elements in arrays.items())


def _by_id(records: Sequence[JobRecord]) -> dict[str, JobRecord]:
    return {job_id: record._replace(job_id=job_id) for record in records for job_id in ids_of(record)}


def words_of(finished: Finished) -> str:
    """Return what a command has said of its failure."""
    return one_line(finished.stderr)


def one_line(output: bytes) -> str:
    """Return what was printed as it fits into a message, of which some see only the last line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    return "; ".join(line for line in lines if line)


def said_by(finished: Finished) -> str:
    """Return what a command that has failed has said, or else how it ended."""
    return words_of(finished) or one_line(finished.stdout) or f"exit code {finished.status}"


def _unanswered(command: str, finished: Finished) -> SlurmUnreachableError:
    """Return the error of a command that asks: in whatever words it fails, they are none about a job."""
    advice = "; set slurm_path to the folder that it is in" if finished.status == 127 else ""
    return SlurmUnreachableError(f"{command} got no answer: {said_by(finished)}{advice}")
