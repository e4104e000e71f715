"""Slurm's commands, and what their answers mean."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from covalent_core_slurm._answers import (
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    JobRecord,
    ids_of,
    is_uncertain,
    is_unsent,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    parse_submission,
)
from covalent_core_slurm._login_node import Finished, LoginNode
from covalent_core_slurm.errors import SlurmRefusedError, SlurmUnreachableError

#: What stands in the place of a job handle when a job must not start any more.
NOBODY = "nobody"

#: How many jobs one scancel or sacct is given.
CHUNK = 500

#: Lists the elements of an array that are listed as one without leaving any out.
_WHOLE = "SLURM_BITSTR_LEN=0"

#: Submits jobs once, however often and by whomever it is run: the file `submitted` has one author. The numbers are in
#: files before anybody is told of them, and a job that must not start any more by then is taken back. The tickets come
#: in, one on a line, then an empty line and the script.
_SUBMIT = """
trap '' PIPE HUP
cd {folder} || exit 1
count=0; places=; tickets=; set -C
while read -r ticket && [ "$ticket" ]; do
    if [ ! -e "$ticket/bundle.pyz" ] || [ -L "$ticket/results/$ticket.process" ]; then
        echo "cancelled $ticket"
    elif {{ echo "{name}" $count > "$ticket/submitted"; }} 2>/dev/null; then
        places="$places,$count"; tickets="$tickets $ticket"; errors="$ticket/sbatch.err"
    else
        echo "twice $ticket"
    fi
    count=$((count + 1))
done
[ "$places" ] || exit 0
set +C
answer=$(sbatch --parsable {array} 2>"$errors"); status=$?
cat "$errors" >&2
[ $status = 0 ] || {{ echo "$answer" >&2; exit $status; }}
id=$(echo "$answer" | sed -n 's/^\\([0-9][0-9]*\\)\\(;.*\\)*$/\\1/p' | tail -n 1)
unwanted=
for ticket in $tickets; do
    places=${{places#,}}; own=${{id}}{element}; places=${{places#*,}}
    echo "$own" > "$ticket/job_id"
    claim="$ticket/results/$ticket.process"
    if [ ! -e "$ticket/bundle.pyz" ] || {{ [ -L "$claim" ] && [ "$(readlink "$claim")" = {nobody} ]; }}; then
        unwanted="$unwanted $own"; echo "cancelled $ticket"
    else
        echo "id $ticket $own"
    fi
done
[ -z "$unwanted" ] || scancel $unwanted
"""

_FIND = """
cd {folder} 2>/dev/null || exit 0
{forbid}
[ -s job_id ] && {{ echo "id $(cat job_id)"; exit; }}
[ -e submitted ] && echo "submitted $(cat submitted)"
true
"""

#: Without the folder for results nobody could be kept from starting.
_FORBID = "mkdir -p results; ln -s {nobody} {claim} 2>/dev/null"

_REFUSALS = {
    "cancelled": "the job was cancelled before it was submitted",
    "twice": "the job has been submitted before, and is not a second time",
}


class Commands:
    """Slurm's commands on a login node."""

    def __init__(self, login_node: LoginNode) -> None:
        self._login_node = login_node
        self._run = login_node.run

    async def submit(
        self, folder: str, name: str, tickets: Sequence[str], script: str
    ) -> Mapping[str, str | SlurmRefusedError]:
        """Submit jobs once, several as an array, and return the number of each, or why it has none.

        Args:
            folder: Where the folders of the jobs are.
            name: What the script calls the job.

        Raises:
            SlurmUnreachableError: The controller has not answered; it may have the jobs all the same.
            SlurmRefusedError: It said no to all of them.
        """
        many = len(tickets) > 1
        array, element = ('--array="${places#,}"', "_${places%%,*}") if many else ("", "")
        command = _SUBMIT.format(folder=shlex.quote(folder), name=name, array=array, element=element, nobody=NOBODY)
        finished = await self._run(command, "\n".join([*tickets, "", script]).encode())

        if finished.status != 0:
            if not is_uncertain(words_of(finished)):
                # They certainly have not been submitted, and nobody need wait for their numbers.
                await self._forget(folder, name, tickets)

            raise _failure("sbatch", finished)

        return _submissions(tickets, finished.stdout.decode())

    async def _forget(self, folder: str, name: str, tickets: Sequence[str]) -> None:
        files = " ".join(f"{ticket}/submitted" for ticket in tickets)
        # Those of another order stay.
        await self._run(f"cd {shlex.quote(folder)} && grep -lsE '^{name} ' /dev/null {files} | xargs -r rm -f")

    async def submitted(self, ticket: str, folder: str, *, forbid: bool) -> tuple[str, str]:
        """Return what the folder of a job says of its submission.

        Args:
            forbid: See to it that a job that has not been submitted never starts.

        Returns:
            ``id`` and its number; ``submitted`` and what Slurm knows it by, if it may come; or nothing.
        """
        forbidding = _FORBID.format(claim=_claim(ticket), nobody=NOBODY) if forbid else ""
        finished = await self._run(_FIND.format(folder=shlex.quote(folder), forbid=forbidding))
        word, _, rest = (finished.stdout.decode().strip().splitlines() or [""])[-1].partition(" ")
        name, _, _ = rest.partition(" ")
        return word, ticket if word == "submitted" and name == ticket else rest

    async def jobs(self) -> list[JobRecord]:
        """Return all jobs of this user that the controller knows, those that are over too: one RPC.

        Raises:
            SlurmUnreachableError: It has not answered.
        """
        finished = await self._run(f'squeue -h -r -t all -u "$(id -un)" -o {shlex.quote(SQUEUE_FORMAT)}')

        if finished.status != 0:
            raise _failure("squeue", finished)

        return parse_squeue(finished.stdout.decode(errors="replace"))

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
            if is_unsent(finished.stderr.decode()) or is_uncertain(finished.stderr.decode()):
                raise _failure("scancel", finished)

    async def recall(self, job_ids: Sequence[str]) -> Mapping[str, JobRecord | None]:
        """Return what is known of jobs that have ended: from the controller, one RPC, or else from the accounting.

        Raises:
            SlurmUnreachableError: The controller has not answered.
        """
        found = await self._shown(job_ids)
        found |= await self._accounted(sorted({*job_ids} - {*found}))
        return {job_id: found.get(job_id) for job_id in job_ids}

    async def _shown(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        # It shows one job or all of them: those of others need not come here.
        which = job_ids[0] if len(job_ids) == 1 else '| grep -F " UserId=$(id -un)("'
        finished = await self._run(f"{_WHOLE} scontrol show job --oneliner {which}")

        if is_unsent(words_of(finished)) or is_uncertain(words_of(finished)):
            raise _failure("scontrol", finished)

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


def _by_id(records: Sequence[JobRecord]) -> dict[str, JobRecord]:
    return {job_id: record for record in records for job_id in ids_of(record)}


def _submissions(tickets: Sequence[str], output: str) -> Mapping[str, str | SlurmRefusedError]:
    """Return what `_SUBMIT` has printed of each job; a word that login scripts have printed is left out."""
    found: dict[str, str | SlurmRefusedError] = {}

    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        ticket, _, job_id = rest.partition(" ")

        if ticket in tickets and word in _REFUSALS:
            found[ticket] = SlurmRefusedError(_REFUSALS[word])
        elif ticket in tickets and word == "id" and parse_submission(job_id.partition("_")[0]):
            found[ticket] = job_id

    return {ticket: found.get(ticket, SlurmRefusedError("sbatch has printed no job id")) for ticket in tickets}


def _claim(ticket: str) -> str:
    """Return the link that a runner makes to own its job."""
    return shlex.quote(f"results/{ticket}.process")


def words_of(finished: Finished) -> str:
    """Return what a command has said of its failure."""
    return one_line(finished.stderr)


def one_line(output: bytes) -> str:
    """Return what was printed as it fits into a message, of which some see only the last line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    return "; ".join(line for line in lines if line)


def _failure(command: str, finished: Finished) -> SlurmRefusedError | SlurmUnreachableError:
    words = words_of(finished) or one_line(finished.stdout) or f"exit code {finished.status}"

    if finished.status == 127:
        return SlurmRefusedError(f"{command} cannot be run: {words}; set slurm_path to the folder that it is in")

    if is_unsent(words) or is_uncertain(words):
        return SlurmUnreachableError(f"{command} got no answer from the controller: {words}", unsent=is_unsent(words))

    return SlurmRefusedError(f"{command} was refused: {words}")
