"""What is said of a node whose job has ended and of which no outcome is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from covalent_core._model.job import Job, Results

#: How many names of files are shown.
MOST_NAMES = 6
#: How much of the last words of a backend is shown: the end of them.
MOST_WORDS = 2000


def explain_missing(job: Job, node_id: int, results: Results, last_words: str) -> str:
    """Say that a job has ended without an outcome for a node, what was found instead, and what that means.

    Args:
        results: What `fetch` gave.
        last_words: What `run` gave.
    """
    names = sorted(name for name in _names(results) if name.startswith(f"{job.ticket}."))
    shown = ", ".join(names[:MOST_NAMES]) + (", …" if names[MOST_NAMES:] else "")
    found = f"{_place(results)} has {shown}" if names else f"{_place(results)} has no file of job {job.ticket}"
    said = f"\nThe last words of its backend: {last_words.strip()[-MOST_WORDS:]}" if last_words.strip() else ""
    return f"the job ended without an outcome for node {node_id}: {found}; {_meaning(job, names, results)}{said}"


def _meaning(job: Job, names: Iterable[str], results: Results) -> str:
    endings = {name[len(job.ticket) :] for name in names}

    if ".ended" in endings:
        return "its runner came to its end, so the outcome is elsewhere or was removed; look at what fetch returns"

    if ".process" in endings:
        return "its runner began and was ended from outside before it could write one"

    if isinstance(results, Mapping):
        return "its runner did not begin, was ended from outside, or its files were not fetched"

    return "its runner never began, or wrote its files elsewhere; is a Python >= 3.8 there, and is this its folder?"


def _place(results: Results) -> str:
    return "what fetch gave" if isinstance(results, Mapping) else os.fspath(results)


def _names(results: Results) -> Iterable[str]:
    if isinstance(results, Mapping):
        return results

    try:
        # A symbolic link that leads nowhere is a sign as well.
        return os.listdir(results)
    except OSError:
        return ()
