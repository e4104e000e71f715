"""The three answers of a look at a job: it is alive, it is over, or that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Alive:
    """The job runs, or it will.

    Attributes:
        state: What the backend calls its state.
        reason: What it waits for, in words for the user; empty where it waits for nothing.
    """

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Over:
    """Nothing of the job runs any more, and nothing of it will. Only somebody who would know says so.

    Attributes:
        state: What the backend calls its state.
        reason: Why it ended, in the words of the backend.
        exit_code: How it ended, where that is known; a signal is below zero.
    """

    state: str
    reason: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class Unknown:
    """The look has shown nothing: it failed, or the job is left out of a list. It ends nothing.

    Attributes:
        why: What was seen instead, in words for the user.
    """

    why: str


#: What a look at a job has shown.
Look: TypeAlias = Alive | Over | Unknown
