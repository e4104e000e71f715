"""What the runner of a job leaves beside its results, seen from here or by a shell far away."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress

#: The beginning of an outcome that the runner has written of a task which somebody else has ended, or may have: with
#: `ct.checkpoint()` it ends by itself when it is told to.
_TERMINATED = r'^\{"status": "(TERMINATED"|CANCELLED"|FAILED", "ended_by": "(signal 9|told)")'
_ENDED_BY_OTHERS = re.compile(_TERMINATED.encode())

#: What the name of the file ends with that a runner makes before all else.
BEGUN_FILE = ".process"

#: The name under which a look reports that there is such an outcome.
TERMINATED = ".terminated"

#: Prints the size and the name of each file whose beginnings come in, one of them on a line.
LOOK = rf"""
while read -r job; do
    if [ -L "$job.ended" ] && grep -qsE '{_TERMINATED}' "$job".*.outcome; then echo "0 $job{TERMINATED}" >&2; fi
    for file in "$job".*; do printf '%s\0' "$file"; done
done 2>&3 | xargs -0 -r stat -c '%s %n' 2>/dev/null
"""
LOOK = f"{{ {LOOK} }} 3>&1 || true"


def parse_look(prefixes: Collection[str], output: str) -> Mapping[str, Mapping[str, int]]:
    """Return by the beginnings of their names the endings and the sizes of the files that `LOOK` has printed."""
    found: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes}

    for line in output.splitlines():
        size, _, path = line.partition(" ")
        folder, _, name = path.rpartition("/")
        ticket, dot, ending = name.partition(".")

        if size.isdecimal() and (files := found.get(f"{folder}/{ticket}")) is not None:
            files[dot + ending] = int(size)

    return found


def look_here(prefixes: Collection[str]) -> Mapping[str, Mapping[str, int]]:
    """Return the same of files that can be seen from here."""
    return {prefix: _files(prefix) for prefix in prefixes}


def _files(prefix: str) -> dict[str, int]:
    folder, _, ticket = prefix.rpartition("/")
    found = {}

    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f"{ticket}."):
                with suppress(FileNotFoundError):
                    found[entry.name[len(ticket) :]] = entry.stat(follow_symlinks=False).st_size

    if ".ended" in found and any(_is_terminated(prefix + name) for name in found if name.endswith(".outcome")):
        found[TERMINATED] = 0

    return found


def _is_terminated(path: str) -> bool:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        return bool(_ENDED_BY_OTHERS.match(file.read(200)))

    return False
