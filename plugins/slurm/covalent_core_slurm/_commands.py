"""Slurm's commands, and what their answers mean."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from covalent_core.backend import NOBODY
from covalent_core.errors import NotNow
from covalent_core_slurm._answers import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    JobRecord,
    belongs,
    ids_of,
    is_anothers,
    is_full,
    is_no_such_job,
    is_uncertain,
    is_unsent,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from covalent_core_slurm._login_node import Finished, LoginNode
from covalent_core_slurm._script import Options, render
from covalent_core_slurm.errors import SlurmError, SlurmRefusedError, SlurmUnreachableError

#: How many jobs one command is given.
CHUNK = 500

#: Lists the elements of an array that are listed as one without leaving any out.
_WHOLE = "SLURM_BITSTR_LEN=0"

#: Sees to it that a job whose folder this is never begins, if it has not.
BAR = f'mkdir -p results && ln -s {NOBODY} "results/$ticket.process" 2>/dev/null; [ -L "results/$ticket.process" ]'

#: Submits jobs once, however often and by whomever it is run: of the file `submitted` with the number of the order one
#: is the author. The ids are in files before anybody is told of them, and a job that must not start any more by then is
#: taken back. Each ticket comes in on a line with the number of the order, then an empty line and the script. Where an
#: array is the name of its folder, Slurm can open an output there for each element as long as that one is not released.
_SUBMIT = """
trap '' PIPE HUP
cd {folder} || exit 1
umask 077; count=0; places=; tickets=; set -C
while read -r ticket order && [ "$ticket" ]; do
    if [ ! -e "$ticket/bundle.pyz" ] || [ -L "$ticket/results/$ticket.process" ]; then
        echo "cancelled $ticket"
    elif {{ echo "{name}" $count > "$ticket/submitted.$order"; }} 2>/dev/null; then
        places="$places,$count"; tickets="$tickets $ticket"; errors="$ticket/sbatch.err"
    else
        echo "twice $ticket"
    fi
    count=$((count + 1))
done
[ "$places" ] || exit 0
set +C
{prepare}
answer=$(sbatch --parsable {array} {options} 2>"$errors"); status=$?
cat "$errors" >&2
[ $status = 0 ] || {{ echo "$answer" >&2; exit $status; }}
id=$(echo "$answer" | sed -nE 's/^([0-9]+)(;.*)?$/\\1/p' | sort -u)
[ "$id" ] || id=$(echo "$answer" | tr -cs '[:alnum:]_.' '\\n' | grep -xE '[0-9]+' | tail -n 1)
case $id in ''|*[!0-9]*) echo "sbatch answered: $answer" >&2; id= ;; esac
unwanted=
for ticket in $tickets; do
    places=${{places#,}}; own=${{id}}{element}; places=${{places#*,}}
    [ -z "$id" ] || echo "$own" > "$ticket/job_id"
    claim="$ticket/results/$ticket.process"
    if [ ! -e "$ticket/bundle.pyz" ] || {{ [ -L "$claim" ] && [ "$(readlink "$claim")" = {nobody} ]; }}; then
        unwanted="$unwanted $own"; echo "cancelled $ticket"
    elif [ "$id" ]; then
        echo "id $ticket $own"
    fi
done
[ -z "$id" ] || [ -z "$unwanted" ] || scancel $unwanted
"""

#: Makes the folder for the outputs of an array. Nobody else can have made one that we own, nor put a link there.
_PREPARE_ARRAY = """
mkdir "{name}" 2>/dev/null
[ -O "{name}" ] && [ ! -L "{name}" ] || {{ echo "$PWD/{name} cannot be made, or is not ours" >&2; exit 1; }}
for place in $(echo "$places" | tr , ' '); do : >> "{name}/$place.out"; done
"""

#: Undoes what `_SUBMIT` has noted of an order that was refused; those of other orders stay.
_FORGET = """
cd {folder} || exit
while read -r ticket order place; do
    if grep -qsx "{name} $place" "$ticket/submitted.$order"; then
        rm -f "$ticket/submitted.$order" "{name}/$place.out"
    fi
done
rmdir "{name}" 2>/dev/null
"""

#: Says what the folder of a job tells of its submission. An order that has not begun is made void: it will find that it
#: has an author.
_FIND = """
ticket={ticket}
if ! cd {folder} 2>/dev/null; then
    LC_ALL=C ls -d {folder} 2>&1 | grep -q 'No such file' && echo gone
    exit
fi
{bar}
grep -qsE '^[0-9]+(_[0-9]+)?$' job_id && {{ echo "id $(cat job_id)"; exit; }}
order=0; set -C
while [ "$(cat "submitted.$order" 2>/dev/null)" = void ]; do order=$((order + 1)); done
if {{ echo void > "submitted.$order"; }} 2>/dev/null; then
    echo "void $((order + 1))"
elif [ -e "submitted.$order" ]; then
    echo "submitted $(cat "submitted.$order")"
fi
"""

#: Asks for an array as a whole first: if there is none, there is no element of it.
_KNOWN = """
while read -r array elements; do
    shown=$(scontrol show job --oneliner "$array" 2>&1) || elements=
    printf '%s\\n' "$shown" | sed "s/^/$array /"
    for element in $elements; do scontrol show job --oneliner "$element" 2>&1 | sed "s/^/$element /"; done
done
"""

_REFUSALS = {
    "cancelled": "nothing may start any more under the ticket of this job",
    "twice": "the job has been submitted before, and is not a second time",
}


class Submitted(NamedTuple):
    """What the folder of a job says of its submission.

    Attributes:
        word: ``id``: Slurm has given it one. ``submitted``: an order to submit it has begun. ``void``: none has, and
            none of those sent so far will. ``gone``: the folder is not there, and nothing can begin without it.
        rest: The id; or what Slurm knows the job by; or the number of the next order.
    """

    word: str
    rest: str = ""


class Commands:
    """Slurm's commands on a login node."""

    def __init__(self, login_node: LoginNode) -> None:
        self._login_node = login_node
        self._run = login_node.run

    async def submit(
        self, folder: str, name: str, orders: Sequence[tuple[str, int]], options: Options, script: str
    ) -> Mapping[str, str | SlurmError]:
        """Submit jobs once, several as an array, and return the number of each, or why it has none.

        Args:
            folder: Where the folders of the jobs are.
            name: What the job is called; for an array also the folder of its outputs.
            orders: The tickets, and of each how many orders before this one are void.
            options: What no variable and no line of the script may change.

        Raises:
            SlurmUnreachableError: Nothing was submitted, and it may be later.
            NotNow: Likewise, because there are too many jobs.
            SlurmRefusedError: It said no to all of them.
            SlurmError: It is not known whether the controller has the jobs.
        """
        many = len(orders) > 1
        array, element = ('--array="${places#,}"', "_${places%%,*}") if many else ("", "")
        prepare = _PREPARE_ARRAY.format(name=name) if many else ""
        command = _SUBMIT.format(
            folder=shlex.quote(folder), name=name, array=array, element=element, nobody=NOBODY, prepare=prepare,
            options=" ".join(render(options)),
        )  # fmt: skip
        lines = [*(f"{ticket} {order}" for ticket, order in orders), "", script]
        finished = await self._run(command, "\n".join(lines).encode())

        if finished.status != 0:
            if not is_uncertain(words_of(finished)):
                # They certainly have not been submitted, and nobody need wait for their numbers.
                await self._forget(folder, name, orders)

            raise _refusal(finished)

        return _submissions([ticket for ticket, _ in orders], finished)

    async def _forget(self, folder: str, name: str, orders: Sequence[tuple[str, int]]) -> None:
        lines = "".join(f"{ticket} {order} {place}\n" for place, (ticket, order) in enumerate(orders))
        await self._run(_FORGET.format(folder=shlex.quote(folder), name=name), lines.encode())

    async def submitted(self, ticket: str, folder: str, *, bar: bool) -> Submitted:
        """Return what the folder of a job says of its submission. Orders that have not begun by then never will.

        Args:
            bar: See to it that the job never begins, if it has not.

        Raises:
            SlurmUnreachableError: It cannot be seen.
        """
        command = _FIND.format(ticket=ticket, folder=shlex.quote(folder), bar=f"{BAR} || exit" if bar else "")
        finished = await self._run(command)
        word, _, rest = finished.stdout.decode(errors="replace").strip().partition(" ")

        if not word:
            raise SlurmUnreachableError(f"cannot look into {folder}: {words_of(finished) or 'nothing can be seen'}")

        name, _, _ = rest.partition(" ")
        return Submitted(word, ticket if word == "submitted" and name == ticket else rest)

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
    return {job_id: record for record in records for job_id in ids_of(record)}


def _submissions(tickets: Sequence[str], finished: Finished) -> Mapping[str, str | SlurmError]:
    """Return what `_SUBMIT` has printed of each job."""
    said = words_of(finished)
    found: dict[str, str | SlurmError] = dict.fromkeys(tickets, SlurmError(f"sbatch has given no job id: {said}"))

    for line in finished.stdout.decode(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        ticket, _, job_id = rest.partition(" ")

        if ticket in found and word in _REFUSALS:
            found[ticket] = SlurmRefusedError(_REFUSALS[word])
        elif ticket in found and word == "id":
            found[ticket] = job_id

    return found


def words_of(finished: Finished) -> str:
    """Return what a command has said of its failure."""
    return one_line(finished.stderr)


def one_line(output: bytes) -> str:
    """Return what was printed as it fits into a message, of which some see only the last line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    return "; ".join(line for line in lines if line)


def _said(finished: Finished) -> str:
    return words_of(finished) or one_line(finished.stdout) or f"exit code {finished.status}"


def _unanswered(command: str, finished: Finished) -> SlurmUnreachableError:
    """Return the error of a command that asks: in whatever words it fails, they are none about a job."""
    advice = "; set slurm_path to the folder that it is in" if finished.status == 127 else ""
    return SlurmUnreachableError(f"{command} got no answer: {_said(finished)}{advice}")


def _refusal(finished: Finished) -> SlurmError | NotNow:
    """Return the error of an sbatch that has failed."""
    words = _said(finished)

    if is_uncertain(words):
        return SlurmError(f"sbatch got no answer from the controller, which may have the job: {words}")

    if is_unsent(words):
        return SlurmUnreachableError(f"sbatch got no answer from the controller: {words}")

    if is_full(words):
        return NotNow(f"sbatch was refused: {words}")

    if finished.status == 127:
        return SlurmRefusedError(f"sbatch cannot be run: {words}; set slurm_path to the folder that it is in")

    return SlurmRefusedError(f"sbatch was refused: {words}")
