"""What can go wrong at Amazon Braket, and in the account that is used.

::

    ExecutorError
    ├── BraketError                 what was asked for is refused, or has no place here
    ├── BackendUnreachableError
    │   └── BraketUnreachableError  nobody answers, or not to these credentials
    │       └── BraketThrottledError    too many requests: later
    └── JobEndedError
        └── BraketJobError          .retry: Braket, or somebody there, has ended a job or a quantum task
"""

from __future__ import annotations

from covalent_core.errors import BackendUnreachableError, ExecutorError, JobEndedError


class BraketError(ExecutorError):
    """Braket, or another service of AWS, refuses what it was asked for; asking again changes nothing."""


class BraketUnreachableError(BackendUnreachableError):
    """A service of AWS gives no answer, or none to these credentials."""


class BraketThrottledError(BraketUnreachableError):
    """A service of AWS has had too many requests."""


class BraketJobError(JobEndedError):
    """A hybrid job or a quantum task has come to an end that is not its own."""
