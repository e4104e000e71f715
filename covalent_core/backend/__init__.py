"""What executors have in common: looks at jobs, orders to end them, claims, results, processes.

Each name is loaded when it is first used. Imports `errors`, `hookspecs`, `_model`, `_runner` and `_home`. Modules that
say that they run on far sides need Python 3.8 and import only each other, `errors` and `_runner`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from covalent_core.backend.claim import NOBODY, Claim
    from covalent_core.backend.ending import end_gracefully
    from covalent_core.backend.folder import SharedFolder
    from covalent_core.backend.following import Following
    from covalent_core.backend.foreign import options
    from covalent_core.backend.job_folder import JobFolder
    from covalent_core.backend.last_words import said_after
    from covalent_core.backend.looks import Alive, Look, Over, Unknown
    from covalent_core.backend.opening import Opening
    from covalent_core.backend.output import Output
    from covalent_core.backend.patience import patiently
    from covalent_core.backend.processes import TAG, Place, ProcessHandle, sweep
    from covalent_core.backend.reporting import beside
    from covalent_core.backend.results import (
        CANCEL,
        ENDED,
        FOLDER,
        LEASE,
        OUTCOME,
        PROCESS,
        VALUE,
        Outcome,
        fetch_results,
        read_outcome,
    )
    from covalent_core.backend.sharing import Shared
    from covalent_core.backend.states import State, States
    from covalent_core.backend.together import Together
    from covalent_core.backend.watch import Watch

__all__ = [
    "CANCEL",
    "ENDED",
    "FOLDER",
    "LEASE",
    "NOBODY",
    "OUTCOME",
    "PROCESS",
    "TAG",
    "VALUE",
    "Alive",
    "Claim",
    "Following",
    "JobFolder",
    "Look",
    "Opening",
    "Outcome",
    "Output",
    "Over",
    "Place",
    "ProcessHandle",
    "Shared",
    "SharedFolder",
    "State",
    "States",
    "Together",
    "Unknown",
    "Watch",
    "beside",
    "end_gracefully",
    "fetch_results",
    "options",
    "patiently",
    "read_outcome",
    "said_after",
    "sweep",
]

#: Where each of them is, below this package.
_HOMES = {
    "Alive": "backend.looks",
    "CANCEL": "_runner.protocol",
    "Claim": "backend.claim",
    "ENDED": "_runner.protocol",
    "FOLDER": "_runner.protocol",
    "LEASE": "_runner.protocol",
    "Following": "backend.following",
    "JobFolder": "backend.job_folder",
    "Look": "backend.looks",
    "NOBODY": "_runner.protocol",
    "OUTCOME": "_runner.protocol",
    "Opening": "backend.opening",
    "Outcome": "backend.results",
    "Output": "backend.output",
    "Over": "backend.looks",
    "PROCESS": "_runner.protocol",
    "Place": "backend.processes",
    "ProcessHandle": "backend.processes",
    "Shared": "backend.sharing",
    "SharedFolder": "backend.folder",
    "State": "backend.states",
    "States": "backend.states",
    "TAG": "_runner.protocol",
    "Together": "backend.together",
    "Unknown": "backend.looks",
    "VALUE": "_runner.protocol",
    "Watch": "backend.watch",
    "beside": "backend.reporting",
    "end_gracefully": "backend.ending",
    "fetch_results": "backend.results",
    "options": "backend.foreign",
    "patiently": "backend.patience",
    "read_outcome": "backend.results",
    "said_after": "backend.last_words",
    "sweep": "backend.processes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'covalent_core.backend' has no attribute {name!r}")

    value = getattr(import_module(f"covalent_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
