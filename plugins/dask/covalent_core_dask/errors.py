"""Every exception that this package raises on purpose.

::

    covalent_core.errors.ExecutorError
    └── DaskError                    a cluster cannot be used as it is; the message says what to change
        ├── DaskVersionsError        client, scheduler and workers do not match; a table says in what
        └── DaskFolderError          workers do not see the folder in which the files of jobs are

A scheduler or a worker that does not answer is a ``covalent_core.errors.BackendUnreachableError``.
"""

from __future__ import annotations

from covalent_core.errors import ExecutorError


class DaskError(ExecutorError):
    """A cluster cannot be used as it is."""


class DaskVersionsError(DaskError):
    """Client, scheduler and workers have different versions of what they talk with."""


class DaskFolderError(DaskError):
    """Workers do not see the folder in which the files of jobs are."""
