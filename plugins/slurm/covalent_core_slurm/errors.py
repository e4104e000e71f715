"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── SlurmError
        ├── SlurmUnreachableError    the controller gave no answer; later it may
        ├── SlurmRefusedError        Slurm, or the file system, answered, and said no
        └── SlurmJobError            .state .retry: Slurm ended a job, or lost it; a JobEndedError too
"""

from __future__ import annotations

from covalent_core.errors import ExecutorError, JobEndedError


class SlurmError(ExecutorError):
    """Something between here and a Slurm cluster."""


class SlurmUnreachableError(SlurmError):
    """The controller gave no answer. To ask again later may help.

    Attributes:
        unsent: Whether it certainly has not heard what it was asked.
    """

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent


class SlurmRefusedError(SlurmError):
    """The answer was no. To ask again does not help; the message has Slurm's own words."""


class SlurmJobError(JobEndedError, SlurmError):
    """A job did not come to its end by itself.

    Attributes:
        state: What Slurm calls its state, empty if Slurm no longer knows the job.
        retry: Whether the same job may succeed if it is run again.
    """

    def __init__(self, message: str, *, state: str, retry: bool) -> None:
        super().__init__(message, retry=retry)
        self.state = state
