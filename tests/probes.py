"""Independent looks at this machine, the same that the suite for executors uses."""

from __future__ import annotations

from covalent_core.testing._probes import (
    Call,
    Stops,
    alive,
    arguments_of,
    dispatchers_of,
    ending,
    kill,
    kill_dispatcher,
    processes_of,
    processes_with,
    start_time,
    wait_until,
)

__all__ = [
    "Call",
    "Stops",
    "alive",
    "arguments_of",
    "dispatchers_of",
    "ending",
    "kill",
    "kill_dispatcher",
    "processes_of",
    "processes_with",
    "start_time",
    "wait_until",
]
