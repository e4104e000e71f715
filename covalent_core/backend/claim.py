"""Who makes this first owns the job: what two runners of one ticket, or a runner and a cancel, settle it by."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from covalent_core._runner.protocol import NOBODY
from covalent_core.errors import BackendUnreachableError

__all__ = ["NOBODY", "Claim"]


class Claim:
    """Something that can be taken once.

    Args:
        take: Takes it for an owner, unless somebody has it, and returns who has it; in one step that nobody can come
            between. For S3 that is a PutObject with ``If-None-Match: *`` and, where it fails, a GetObject.
    """

    def __init__(self, take: Callable[[str], str]) -> None:
        self._take: Final = take

    @classmethod
    def by_link(cls, path: str | os.PathLike[str]) -> Claim:
        """Return a claim that is a symbolic link to its owner, as ``results/<ticket>.process`` of the runner is.

        Its folder has to be there. It also holds on NFS: whoever has made the link finds his own name in it, even if
        the answer to that was lost.
        """

        def take(owner: str) -> str:
            try:
                os.symlink(owner, path)
            except FileExistsError:
                return os.readlink(path)

            return owner

        return cls(take)

    @classmethod
    def by_file(cls, path: str | os.PathLike[str]) -> Claim:
        """Return a claim that is a file with its owner in it, for file systems that have no links.

        Taking it raises `BackendUnreachableError` while somebody has it who has not written his name there yet.
        """

        def take(owner: str) -> str:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return _read(path)

            with open(descriptor, "w") as file:
                file.write(f"{owner}\n")

            return owner

        return cls(take)

    def take(self, owner: str) -> str:
        """Take it unless somebody has it, and return its owner; whoever is told his own name owns the job.

        Args:
            owner: A name that nobody else has: a job handle, or an id made for this one attempt.
        """
        return self._take(owner)

    def bar(self) -> str | None:
        """See to it that nothing starts any more: return None if so, or the owner who came first."""
        owner = self._take(NOBODY)
        return None if owner == NOBODY else owner


def _read(path: str | os.PathLike[str]) -> str:
    with open(path) as file:
        owner = file.read()

    if not owner.endswith("\n"):
        raise BackendUnreachableError(f"{os.fspath(path)} belongs to somebody who has not written a name into it yet")

    return owner.removesuffix("\n")
