"""What the states of Slurm mean: https://slurm.schedmd.com/job_state_codes.html. Pure data and functions."""

from __future__ import annotations

from covalent_core.backend import Look, State, States
from covalent_core_slurm._answers import JobRecord
from covalent_core_slurm._script import BEGUN_BEFORE

#: The states in which the script of a job may be running.
BEGUN = ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT")

#: What we call the state of a job that Slurm had put back into its queue when its task had begun.
RESTARTED = "RESTARTED"

TABLE = {
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
    "REVOKED": State("another cluster of the federation took it"),
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
    "RECONFIG_FAIL": State("its nodes could not be configured", over=True, retry=True),
    RESTARTED: State(
        "Slurm has put it back into its queue when its task had begun, and none begins twice", over=True, retry=True
    ),
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

STATES = States("Slurm job", TABLE, HOPELESS)


def look_of(record: JobRecord) -> Look:
    """Return what a record shows of its job."""
    return STATES.look(record.job_id, record.state, _reason(record))


def is_over(state: str) -> bool:
    """Return whether nothing runs any more, or will, of a job in this state."""
    return STATES.meaning(state).over


def waits(state: str) -> bool:
    """Return whether a job in this state is in the queue, for the first time or again."""
    return STATES.meaning(state).waits


def is_requeued(record: JobRecord) -> bool:
    """Return whether a job that had begun is in the queue again, or was, and its script has found that out."""
    return waits(record.state) or record.exit_code == f"{BEGUN_BEFORE}:0"


def is_own_end(record: JobRecord) -> bool:
    """Return whether the script of a job has come to its end by itself, the first time that it ran."""
    return record.state in ("COMPLETED", "FAILED") and not is_requeued(record)


def explain(record: JobRecord) -> tuple[str, bool]:
    """Say what has become of a job that left no result, and whether another attempt may end otherwise."""
    state = RESTARTED if is_requeued(record) else record.state
    return STATES.explain(record.job_id, state, _reason(record), exit_status(record.exit_code))


def exit_status(exit_code: str) -> int | None:
    """Return what stands for ``<exit code>:<signal>``: a signal is below zero, and what is none is left out."""
    status, _, signal = (int(part) if part.isdecimal() else 0 for part in exit_code.partition(":"))
    return status or (-signal if 0 < signal < 65 else None)


def _reason(record: JobRecord) -> str:
    return "" if record.reason == "None" else record.reason
