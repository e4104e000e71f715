"""What Braket calls the states of its hybrid jobs and quantum tasks, in plain words."""

from __future__ import annotations

from covalent_core.backend import State, States

#: Of a quantum task or a job that is not over.
OPEN = {"CREATED", "QUEUED", "RUNNING", "CANCELLING"}

#: What an event of a job is called that has run for longer than it may.
TOO_LONG = "MAX_RUNTIME_EXCEEDED"

#: The state of a job that Braket does not know.
GONE = "GONE"

JOBS = States(
    "hybrid job",
    {
        "QUEUED": State("it waits for its turn", waits=True),
        "RUNNING": State("it runs"),
        "CANCELLING": State("it is being cancelled"),
        "COMPLETED": State("its container came to its end and left no result", over=True, retry=True),
        "FAILED": State("it failed", over=True, retry=True),
        "CANCELLED": State("somebody has cancelled it", over=True),
        TOO_LONG: State("its time limit was reached", over=True, advice="ask for more with time_limit="),
        GONE: State("Braket no longer knows it", over=True, retry=True),
    },
)

TASKS = States(
    "quantum task",
    {
        "CREATED": State("it waits for its turn", waits=True),
        "QUEUED": State("it waits for its turn", waits=True),
        "RUNNING": State("it runs"),
        "CANCELLING": State("it is being cancelled"),
        "COMPLETED": State("it is through", over=True),
        "FAILED": State("it failed", over=True, retry=True),
        "CANCELLED": State("somebody has cancelled it", over=True),
    },
)

#: In the words for a failure: what another attempt would meet with as well.
HOPELESS = ("ModuleNotFoundError", "AccessDenied", "not authorized")


def explain(states: States, arn: str, state: str, reason: str) -> tuple[str, bool]:
    """Say what has become of something that left no result, and whether another attempt may end otherwise."""
    message, retry = states.explain(arn, state, reason)
    return message, retry and not any(words in reason for words in HOPELESS)
