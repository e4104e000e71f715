"""What the runner of a job leaves beside its results, seen from here or by a shell far away."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from covalent_core.backend import JobFolder

#: Prints the size and the name of each file whose beginnings come in, one of them on a line.
LOOK = r"""
while read -r job; do
    for file in "$job".*; do printf '%s\0' "$file"; done
done | xargs -0 -r stat -c '%s %n' 2>/dev/null || true
"""


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


def look_here(prefixes: Collection[str]) -> Mapping[str, Mapping[str, int] | str]:
    """Return the same of files that can be seen from here, or why they cannot be."""
    return {prefix: _files_or_why_not(prefix) for prefix in prefixes}


def _files_or_why_not(prefix: str) -> Mapping[str, int] | str:
    results, ticket = os.path.split(prefix)

    try:
        return JobFolder(os.path.dirname(results), ticket).files()
    except OSError as error:
        return f"cannot look into {results}: {error.strerror}"
