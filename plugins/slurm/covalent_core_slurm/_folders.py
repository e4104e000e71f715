"""The folders of jobs, on the login node."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from functools import partial

from covalent_core.backend import Together
from covalent_core_slurm._commands import one_line, words_of
from covalent_core_slurm._login_node import LoginNode
from covalent_core_slurm._sbatch import BAR
from covalent_core_slurm._script import quote_path
from covalent_core_slurm.errors import SlurmRefusedError

#: Makes the folder for all jobs and says where it is, or why others could change what is there.
_WORKDIR = """
cd && (umask 077 && mkdir -p {place}) && cd {place} && [ -w . ] || exit
[ -O . ] || {{ echo "$(pwd -P) belongs to another user; name another folder" >&2; exit 1; }}
case $(ls -ld .) in ?????w???[!tT]*|????????w[!tT]*)
    echo "$(pwd -P) can be written by other users, who could change what runs there; take that from them with:" \
        "chmod go-w $(pwd -P)" >&2
    exit 1
esac
pwd -P
"""

#: Makes the folders of jobs, many in few processes. Nobody else can have made one that we own, nor put a link there.
_MAKE = """
umask 077
set --
while read -r folder; do set -- "$@" "$folder"; done
mkdir "$@" 2>/dev/null
for folder in "$@"; do
    [ -O "$folder" ] && [ ! -L "$folder" ] || { echo "$folder cannot be made, or is not ours" >&2; exit 1; }
    set -- "$@" "$folder/results"
done
mkdir -p "$@"
"""

#: Writes what is said of the ends of jobs, two lines for each: where, and what.
_SAY = """
while read -r place && read -r words; do
    [ ! -d "${place%/*}" ] || { printf %s "$words" > "$place.part" && mv "$place.part" "$place"; }
done
"""

#: Prints the end of what the script of a job has written, or Slurm where an element of an array did not come to it.
_LOG = """
cd {folder} || exit 0
[ -e slurm.out ] && {{ tail -c 2000 slurm.out; exit; }}
cat submitted.* | grep -v void | while read -r name place; do tail -c 2000 "../$name/$place.out"; done
"""

#: Sees to it that jobs never begin, and removes their folders where that is wanted: many in few processes, for those
#: of a large array are released at once.
_RELEASE = """
set --
while read -r folder; do
    ticket=${{folder##*/}}; workdir=${{folder%/*}}
    if [ -d "$folder" ]; then
        cd "$folder" && {bar} || exit 1
    fi
    {remove}
done
[ $# = 0 ] || rm -rf "$@" || exit 1
last=
for path in "$@"; do
    array=${{path%/*.out}}
    [ "$array" = "$path" ] || [ "$array" = "$last" ] || [ ! -d "$array" ] || rmdir "$array" 2>/dev/null
    last=$array
done
"""

#: What a folder is called while it is being removed: nothing that comes late finds half of it.
_REMOVE = """
    for note in "$folder"/submitted.*; do
        [ -e "$note" ] && read -r name place < "$note" && [ "$name" != void ] || continue
        set -- "$@" "$workdir/$name/$place.out"
    done
    [ ! -e "$folder" ] || mv "$folder" "$folder.gone"
    set -- "$@" "$folder.gone"
"""

#: How much of what a task writes is read while it runs.
OUTPUT_BYTES = 65536


class Folders:
    """The folders of jobs, on the login node."""

    def __init__(self, login_node: LoginNode) -> None:
        self._run = login_node.run
        self._workdirs: dict[str, str] = {}
        self._said: Together[tuple[str, str], None] = Together(self._say, moment=0.05, longest=0.5)
        self._made: Together[str, None] = Together(self._make, moment=0.005, longest=0.05)
        self._removed: Together[str, None] = Together(partial(self._release, _REMOVE), moment=0.01, longest=0.1)
        self._barred: Together[str, None] = Together(partial(self._release, ""), moment=0.01, longest=0.1)

    async def workdir(self, path: str) -> str:
        """Make the folder for all jobs, relative to the home directory, and return where it is.

        Raises:
            SlurmRefusedError: It cannot be made or written to, or others could change what is in it.
        """
        if path in self._workdirs:
            return self._workdirs[path]

        finished = await self._run(_WORKDIR.format(place=quote_path(path)))

        if finished.status != 0:
            said = words_of(finished) or "it is read-only"
            raise SlurmRefusedError(f"remote_workdir {path!r} cannot be used: {said}")

        return self._workdirs.setdefault(path, finished.stdout.decode().strip())

    async def make(self, folder: str) -> None:
        """Make the folder of a job.

        Raises:
            SlurmRefusedError: It cannot be made, or somebody else has made it.
        """
        await self._made.ask(folder)

    async def release(self, folder: str, workdir: str = "", *, keep: bool = False) -> None:
        """Let the job of a folder never begin, if it has not, and remove the folder.

        Args:
            workdir: Where the job ran, to be removed if it has left nothing there.
            keep: Remove nothing.

        Raises:
            SlurmRefusedError: It cannot be done.
        """
        await (self._barred if keep else self._removed).ask(folder)

        if workdir and not keep:
            places = " ".join(map(shlex.quote, (workdir, os.path.dirname(workdir))))
            await self._run(f"rmdir {places} 2>/dev/null")

    async def say_how_to_end(self, prefix: str, reason: str, grace: float) -> None:
        """Say why a job is to be ended, for its tasks to read, and how much time they have.

        Its runner reads that when it gets SIGTERM. Where it cannot be left there, the job is to be ended all the same.
        """
        await self._said.ask((f"{prefix}.order", json.dumps({"reason": reason, "grace": grace})))

    async def end_members(self, prefix: str, node_ids: Sequence[int]) -> None:
        """Order the end of some nodes of a pack, besides those whose end has been ordered before.

        Raises:
            SlurmRefusedError: The order could not be left there.
        """
        place, part = shlex.quote(f"{prefix}.cancel"), shlex.quote(f"{prefix}.cancel.{os.urandom(4).hex()}")
        known = await self._run(f"cat {place} 2>/dev/null")
        ordered = sorted({*node_ids, *json.loads(known.stdout or b"[]")})
        finished = await self._run(f"cat > {part} && mv {part} {place}", json.dumps(ordered).encode())
        _check(finished.status == 0, f"cannot order the end of some nodes of a pack: {words_of(finished)}")

    async def log(self, folder: str) -> str:
        """Return the end of what the script of a job has written itself."""
        finished = await self._run(_LOG.format(folder=shlex.quote(folder)))
        return one_line(finished.stdout)

    async def read_end(self, path: str) -> bytes:
        """Return the end of a file, nothing if it is not there."""
        finished = await self._run(f"tail -c {OUTPUT_BYTES} {shlex.quote(path)} 2>/dev/null")
        return finished.stdout

    async def _make(self, folders: list[str]) -> Mapping[str, None]:
        finished = await self._run(_MAKE, "".join(f"{folder}\n" for folder in folders).encode())
        _check(finished.status == 0, f"cannot make the folder of a job: {words_of(finished)}")
        return dict.fromkeys(folders)

    async def _say(self, said: list[tuple[str, str]]) -> Mapping[tuple[str, str], None]:
        await self._run(_SAY, "".join(f"{place}\n{words}\n" for place, words in said).encode())
        return dict.fromkeys(said)

    async def _release(self, remove: str, folders: list[str]) -> Mapping[str, None]:
        command = _RELEASE.format(bar=BAR, remove=remove)
        finished = await self._run(command, "".join(f"{folder}\n" for folder in folders).encode())
        _check(finished.status == 0, f"cannot release the folder of a job: {words_of(finished)}")
        return dict.fromkeys(folders)


def _check(done: bool, problem: str) -> None:
    if not done:
        raise SlurmRefusedError(problem)
