"""What a backend calls the states of its jobs, in plain words: a table, and what can be said by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from covalent_core.backend.looks import Alive, Look, Over, Unknown


@dataclass(frozen=True)
class State:
    """What a state means.

    Attributes:
        words: In plain words, what is the case: "its time limit was reached".
        over: Whether nothing of the job runs any more, or will.
        waits: Whether the job is in the queue, for the first time or again.
        retry: Whether another attempt may end otherwise.
        advice: What the user can do, if there is something: "ask for more with time=".
    """

    words: str
    over: bool = False
    waits: bool = False
    retry: bool = False
    advice: str = ""


@dataclass(frozen=True)
class States:
    """The states of a backend. One that is not in the table is taken to be of a job that goes on.

    Attributes:
        job: What a job of the backend is called: "Slurm job".
        table: The states by the backend's words for them.
        hopeless: Reasons for which a job waits that no waiting will change, and what they mean.
    """

    job: str
    table: Mapping[str, State]
    hopeless: Mapping[str, str] = field(default_factory=dict)

    def meaning(self, state: str) -> State:
        """Return what a state means."""
        return self.table.get(state, State(f"it is in the state {state}, which is not known here"))

    def look(self, job_id: str, state: str, reason: str = "", exit_code: int | None = None) -> Look:
        """Return what a record of the backend shows of a job.

        Args:
            reason: As the backend gives it, empty where it has none.
            exit_code: How the job ended; a signal is below zero.
        """
        if not state:
            return Unknown(f"{self.job} {job_id} is listed without a state")

        meant = self.meaning(state)

        if meant.over:
            return Over(state, reason, exit_code)

        return Alive(state, self.waiting(job_id, state, reason))

    def waiting(self, job_id: str, state: str, reason: str = "") -> str:
        """Say what a job waits for; nothing if it is not in the queue."""
        meant = self.meaning(state)

        if not meant.waits:
            return ""

        if reason in self.hopeless:
            return f"{self.job} {job_id} may wait for ever: {self.hopeless[reason]} ({reason}){_advice(meant)}"

        details = f" ({reason})" if reason not in ("", state) else ""
        return f"{self.job} {job_id}: {meant.words}{details}{_advice(meant)}"

    def explain(self, job_id: str, state: str, reason: str = "", exit_code: int | None = None) -> tuple[str, bool]:
        """Say what has become of a job that left no result, and whether another attempt may end otherwise.

        Both fit `JobEndedError`. A state that is not known gives another attempt its chance.
        """
        meant = self.table.get(state, State(self.meaning(state).words, retry=True))
        details = [state, *([reason] if reason not in ("", state) else [])]
        details += [_ended_with(exit_code)] if exit_code else []
        shown = ", ".join(filter(None, details))
        message = f"{self.job} {job_id} did not end by itself: {meant.words}" + (f" ({shown})" if shown else "")
        return message + _advice(meant), meant.retry


def _advice(meant: State) -> str:
    return f"; {meant.advice}" if meant.advice else ""


def _ended_with(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
