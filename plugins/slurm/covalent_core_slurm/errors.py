"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── SlurmError
        ├── SlurmUnreachableError    no answer has come, or none about a job; a BackendUnreachableError too
        ├── SlurmRefusedError        Slurm, or the file system, answered, and said no
        └── SlurmJobError            .state .retry: Slurm ended a job, or lost it; a JobEndedError too
"""

from __future__ import annotations

from covalent_core.errors import BackendUnreachableError, ExecutorError, JobEndedError


class SlurmError(ExecutorError):
    """Something between here and a Slurm cluster."""


class SlurmUnreachableError(SlurmError, BackendUnreachableError):
    """No answer has come, and nothing was submitted by what was asked. To ask again later may help."""


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
