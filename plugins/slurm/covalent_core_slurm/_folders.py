"""The folders of jobs, on the login node."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence

from covalent_core.backend import Together
from covalent_core_slurm._commands import one_line, words_of
from covalent_core_slurm._login_node import LoginNode
from covalent_core_slurm._script import quote_path
from covalent_core_slurm.errors import SlurmRefusedError

#: How much of what a task writes is shown while it runs.
SHOWN_BYTES = 65536

#: Prints the end of what the script of a job has written, or Slurm where an element of an array did not come to it.
_LOG = """
cd {folder} || exit 0
[ -e slurm.out ] && {{ tail -c 2000 slurm.out; exit; }}
read -r name place < submitted && tail -c 2000 "../$name-$place.out"
"""

#: What a removed folder is called while it is being removed: nothing that comes late finds half of it.
_REMOVE = """
while read -r folder; do
    if read -r name place 2>/dev/null < "$folder/submitted"; then rm -f "$folder/../$name-$place.out"; fi
    [ ! -e "$folder" ] || mv "$folder" "$folder.gone"
    printf '%s\\0' "$folder.gone"
done | xargs -0 -r rm -rf
"""


class Folders:
    """The folders of jobs, on the login node."""

    def __init__(self, login_node: LoginNode) -> None:
        self._run = login_node.run
        self._workdirs: dict[str, str] = {}
        self._made: Together[str, None] = Together(self._make, moment=0.005, longest=0.05)
        self._removed: Together[str, None] = Together(self._remove, moment=0.01, longest=0.1)

    async def workdir(self, path: str) -> str:
        """Make the folder for all jobs, relative to the home directory, and return where it is.

        Raises:
            SlurmRefusedError: It cannot be made, or not be written to.
        """
        if path in self._workdirs:
            return self._workdirs[path]

        place = quote_path(path)
        finished = await self._run(f"cd && mkdir -p {place} && cd {place} && [ -w . ] && echo && pwd -P")

        if finished.status != 0:
            said = words_of(finished) or "it is read-only"
            raise SlurmRefusedError(f"remote_workdir {path!r} cannot be used: {said}")

        return self._workdirs.setdefault(path, finished.stdout.decode().splitlines()[-1])

    async def make(self, folder: str) -> None:
        """Make the folder of a job.

        Raises:
            SlurmRefusedError: It cannot be made.
        """
        await self._made.ask(folder)

    async def remove(self, folder: str, workdir: str = "") -> None:
        """Remove the folder of a job.

        Args:
            workdir: Where the job ran, to be removed if it has left nothing there.

        Raises:
            SlurmRefusedError: It cannot be removed.
        """
        await self._removed.ask(folder)

        if workdir:
            places = " ".join(map(shlex.quote, (workdir, os.path.dirname(workdir))))
            await self._run(f"rmdir {places} 2>/dev/null")

    async def end_members(self, prefix: str, node_ids: Sequence[int]) -> None:
        """Order the end of some nodes of a pack, besides those whose end has been ordered before.

        Raises:
            SlurmRefusedError: The order could not be left there.
        """
        place, part = shlex.quote(f"{prefix}.cancel"), shlex.quote(f"{prefix}.cancel.{os.urandom(4).hex()}")
        known = await self._run(f"cat {place} 2>/dev/null")
        ordered = sorted({*node_ids, *json.loads(known.stdout.decode().strip().split("\n")[-1] or "[]")})
        finished = await self._run(f"cat > {part} && mv {part} {place}", json.dumps(ordered).encode())
        _check(finished.status == 0, f"cannot order the end of some nodes of a pack: {words_of(finished)}")

    async def log(self, folder: str) -> str:
        """Return the end of what the script of a job has written itself."""
        finished = await self._run(_LOG.format(folder=shlex.quote(folder)))
        return one_line(finished.stdout)

    async def read_end(self, path: str) -> str:
        """Return the end of a file, nothing if it is not there."""
        finished = await self._run(f"tail -c {SHOWN_BYTES} {shlex.quote(path)} 2>/dev/null")
        return finished.stdout.decode(errors="replace")

    async def _make(self, folders: list[str]) -> Mapping[str, None]:
        places = "".join(f"{folder}/results\0" for folder in folders)
        finished = await self._run("umask 077; xargs -0 mkdir -p", places.encode())
        _check(finished.status == 0, f"cannot make the folder of a job: {words_of(finished)}")
        return dict.fromkeys(folders)

    async def _remove(self, folders: list[str]) -> Mapping[str, None]:
        finished = await self._run(_REMOVE, "".join(f"{folder}\n" for folder in folders).encode())
        _check(finished.status == 0, f"cannot remove the folder of a job: {words_of(finished)}")
        return dict.fromkeys(folders)


def _check(done: bool, problem: str) -> None:
    if not done:
        raise SlurmRefusedError(problem)
