"""sbatch, called once for a job, whatever is lost on the way there or back."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from covalent_core.backend import NOBODY
from covalent_core.errors import NotNow
from covalent_core_slurm._answers import UNCERTAIN, is_full, is_uncertain, is_unsent
from covalent_core_slurm._commands import said_by, words_of
from covalent_core_slurm._login_node import Finished, LoginNode
from covalent_core_slurm._script import Options, render
from covalent_core_slurm.errors import SlurmError, SlurmRefusedError, SlurmUnreachableError

#: Sees to it that a job whose folder this is never begins, if it has not.
BAR = f"""{{ [ -d results ] || mkdir results; }} && {{
    [ -L "results/$ticket.process" ] || ln -s {NOBODY} "results/$ticket.process" 2>/dev/null
    [ -L "results/$ticket.process" ]
}}"""

#: Submits jobs once, however often and by whomever it is run: of the file `submitted` with the number of the order one
#: is the author. The ids are in files before anybody is told of them, and a job that must not start any more by then is
#: taken back. What was certainly not submitted is not noted either. Each ticket comes in on a line with the number of
#: the order, then an empty line and the script.
_SUBMIT = """
trap '' PIPE HUP
cd {folder} || exit 1
count=0; places=; tickets=; notes=; set -C
while read -r ticket order && [ "$ticket" ]; do
    if [ ! -e "$ticket/bundle.pyz" ] || [ -L "$ticket/results/$ticket.process" ]; then
        echo "cancelled $ticket"
    elif {{ echo "{name}" $count > "$ticket/submitted.$order"; }} 2>/dev/null; then
        places="$places,$count"; tickets="$tickets $ticket"; notes="$notes $ticket/submitted.$order"
    else
        echo "twice $ticket"
    fi
    count=$((count + 1))
done
[ "$places" ] || exit 0
set +C; errors="${{tickets##* }}/sbatch.err"
{prepare}
answer=$(sbatch --parsable {array} {options} 2>"$errors"); status=$?
cat "$errors" >&2
if [ $status != 0 ]; then
    echo "$answer" >&2
    grep -qiE {uncertain} "$errors" || rm -rf $notes {outputs}
    exit $status
fi
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

#: Makes the folder for the outputs of an array. Nobody else can have made one that we own, nor put a link there. It is
#: there until the last element is released, for Slurm starts none whose output it cannot open.
_PREPARE_ARRAY = """
mkdir -m 700 "{name}" 2>/dev/null
[ -O "{name}" ] && [ ! -L "{name}" ] || {{ echo "$PWD/{name} cannot be made, or is not ours" >&2; exit 1; }}
for place in $(echo "$places" | tr , ' '); do : >> "{name}/$place.out"; done
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


class Sbatch:
    """sbatch on a login node."""

    def __init__(self, login_node: LoginNode) -> None:
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
        prepare, outputs = (_PREPARE_ARRAY.format(name=name), name) if many else ("", "")
        command = _SUBMIT.format(
            folder=shlex.quote(folder), name=name, array=array, element=element, nobody=NOBODY, prepare=prepare,
            outputs=outputs, uncertain=shlex.quote(UNCERTAIN.pattern), options=" ".join(render(options)),
        )  # fmt: skip
        lines = [*(f"{ticket} {order}" for ticket, order in orders), "", script]
        finished = await self._run(command, "\n".join(lines).encode())

        if finished.status != 0:
            raise _refusal(finished)

        return _submissions([ticket for ticket, _ in orders], finished)

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


def _refusal(finished: Finished) -> SlurmError | NotNow:
    """Return the error of an sbatch that has failed."""
    words = said_by(finished)

    if is_uncertain(words):
        return SlurmError(f"sbatch got no answer from the controller, which may have the job: {words}")

    if is_unsent(words):
        return SlurmUnreachableError(f"sbatch got no answer from the controller: {words}")

    if is_full(words):
        return NotNow(f"sbatch was refused: {words}")

    if finished.status == 127:
        return SlurmRefusedError(f"sbatch cannot be run: {words}; set slurm_path to the folder that it is in")

    return SlurmRefusedError(f"sbatch was refused: {words}")
