"""What the states of Slurm mean: https://slurm.schedmd.com/job_state_codes.html. Pure data and functions."""

from __future__ import annotations

from typing import NamedTuple

from covalent_core_slurm._script import BEGUN_BEFORE


class State(NamedTuple):
    """What a state means.

    Attributes:
        words: In plain words, what has become of the job.
        over: Whether nothing of the job runs any more, or will.
        waits: Whether the job is in the queue, for the first time or again.
        retry: Whether another attempt may end otherwise.
        advice: What the user can do, if there is something.
    """

    words: str
    over: bool = False
    waits: bool = False
    retry: bool = False
    advice: str = ""


#: What is left of a job that Slurm had put back into its queue when its task had begun.
REQUEUED = State("Slurm has put it back into its queue when its task had begun, and none begins twice", retry=True)

STATES = {
    "PENDING": State("it waits for its turn", waits=True),
    "CONFIGURING": State("its nodes are being made ready", waits=True),
    "RUNNING": State("it runs"),
    "SUSPENDED": State("it is suspended"),
    "STOPPED": State("it has been stopped with SIGSTOP"),
    "SIGNALING": State("it is being sent a signal"),
    "STAGE_OUT": State("its files are being staged out"),
    "COMPLETING": State("it is ending"),
    "REQUEUED": State("it has been put back into the queue", waits=True),
    "REQUEUE_FED": State("it has been put back into the queue of its federation", waits=True),
    "REQUEUE_HOLD": State(
        "it has been put back into the queue and is held", waits=True, advice="scontrol release lets it go on"
    ),
    "SPECIAL_EXIT": State("it has been put back into the queue after a special exit code and is held", waits=True),
    "RESV_DEL_HOLD": State("it is held because its reservation was deleted", waits=True),
    "RESIZING": State("its size is being changed"),
    "COMPLETED": State("its script came to its end, and nothing is there of its task", over=True, retry=True),
    "FAILED": State("its script ended with an error", over=True, retry=True),
    "CANCELLED": State("it was cancelled from outside, with scancel or by an administrator", over=True),
    "TIMEOUT": State("its time limit was reached", over=True, advice="ask for more with time="),
    "DEADLINE": State("its deadline was reached", over=True),
    "OUT_OF_MEMORY": State("it used more memory than it was given", over=True, advice="ask for more with mem="),
    "NODE_FAIL": State("a node that it ran on failed", over=True, retry=True),
    "BOOT_FAIL": State("a node that it was given could not be started", over=True, retry=True),
    "LAUNCH_FAILED": State("it could not be started on its node", over=True, retry=True),
    "PREEMPTED": State("it had to make way for a job of higher priority", over=True, retry=True),
    "REVOKED": State("another cluster of the federation took it", over=True),
    "RECONFIG_FAIL": State("its nodes could not be configured", over=True, retry=True),
}

#: Reasons for which a job waits that no waiting will change.
HOPELESS = {
    "DependencyNeverSatisfied": "a job that it depends on has failed",
    "BadConstraints": "no node can meet its constraints",
    "PartitionConfig": "its partition does not allow what it asks for",
    "PartitionTimeLimit": "it asks for more time than its partition allows",
    "AccountNotAllowed": "its account may not use this partition",
    "QOSNotAllowed": "its QOS may not be used in this partition",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "JobHeldUser": "its owner has held it",
    "JobHeldAdmin": "an administrator has held it",
}


def meaning(state: str) -> State:
    """Return what a state means; one that is not known is taken to be about a job that goes on."""
    return STATES.get(state, State(f"it is in the state {state}, which is not known here"))


def is_requeued(state: str, exit_code: str) -> bool:
    """Return whether a job that had begun is in the queue again, or was, and its script has found that out."""
    return meaning(state).waits or exit_code == f"{BEGUN_BEFORE}:0"


def explain(job_id: str, state: str, reason: str = "", exit_code: str = "") -> tuple[str, bool]:
    """Say what has become of a job, and whether another attempt may end otherwise.

    Args:
        reason: As Slurm gives it, ``None`` where it has none.
        exit_code: As Slurm gives it, ``<status>:<signal>``.
    """
    meant = REQUEUED if is_requeued(state, exit_code) else meaning(state)
    details = [state, *([reason] if reason not in ("", "None", state) else [])]
    details += [f"exit code {exit_code}"] if exit_code not in ("", "0:0") else []
    advice = f"; {meant.advice}" if meant.advice else ""
    return f"Slurm job {job_id} did not end by itself: {meant.words} ({', '.join(details)}){advice}", meant.retry
