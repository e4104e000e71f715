"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── SSHError
        ├── SSHUnreachableError    no connection could be made; later it may be possible
        ├── SSHLineLostError       the connection was lost while something was under way
        ├── SSHElsewhereError      .host: the host answered, and it is not the one where a job runs
        └── SSHRefusedError        the host answered, and said no: an interpreter, a folder
            └── SSHDeniedError     it did not even let us in, or is not the host that it should be
"""

from __future__ import annotations

from covalent_core.errors import ExecutorError


class SSHError(ExecutorError):
    """Something between here and a host."""


class SSHUnreachableError(SSHError):
    """No connection could be made. To try again later may help."""


class SSHLineLostError(SSHError):
    """The connection was lost while something was under way, and nobody knows how far it has come."""


class SSHElsewhereError(SSHError):
    """The host answered, and it is not the one where a job runs; of that nothing is known.

    Attributes:
        host: What it calls itself.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"the job does not run on {host}")
        self.host = host


class SSHRefusedError(SSHError):
    """The host answered, and the answer was no. To try again does not help; the message says what does."""


class SSHDeniedError(SSHRefusedError):
    """The host did not let us in, or is not the one that it should be. Who asks often is locked out."""
