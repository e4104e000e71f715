"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── SSHError
        ├── SSHUnreachableError    no connection could be made; later it may be possible
        ├── SSHLineLostError       the connection was lost while something was under way
        └── SSHRefusedError        the host answered, and said no: a key, an interpreter, a folder
"""

from __future__ import annotations

from covalent_core.errors import ExecutorError


class SSHError(ExecutorError):
    """Something between here and a host."""


class SSHUnreachableError(SSHError):
    """No connection could be made. To try again later may help."""


class SSHLineLostError(SSHError):
    """The connection was lost while something was under way, and nobody knows how far it has come."""


class SSHRefusedError(SSHError):
    """The host answered, and the answer was no. To try again does not help; the message says what does."""
