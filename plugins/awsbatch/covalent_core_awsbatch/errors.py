"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── BatchError                   it is not known whether AWS has done what it was asked for
        ├── BatchUnreachableError    no answer has come, or "too much at once"; a BackendUnreachableError too
        ├── BatchRefusedError        .code: AWS answered, and said no
        └── BatchJobError            .state .retry: AWS has ended a job, or lost it; a JobEndedError too
"""

from __future__ import annotations

from covalent_core.errors import BackendUnreachableError, ExecutorError, JobEndedError


class BatchError(ExecutorError):
    """Something between here and AWS."""


class BatchUnreachableError(BatchError, BackendUnreachableError):
    """No answer has come, and nothing was changed by what was asked. To ask again later may help."""


class BatchRefusedError(BatchError):
    """The answer was no; the message has AWS's own words.

    Attributes:
        code: What AWS calls the error.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class BatchJobError(JobEndedError, BatchError):
    """A job did not come to its end by itself.

    Attributes:
        state: What AWS calls its state, empty if AWS no longer knows the job.
        retry: Whether the same job may succeed if it is run again.
    """

    def __init__(self, message: str, *, state: str, retry: bool) -> None:
        super().__init__(message, retry=retry)
        self.state = state
