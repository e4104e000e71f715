"""Pickled values: small ones are in the row that has them, large ones are files beside the database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from covalent_core._home import Home
from covalent_core._model.job import Value
from covalent_core._runner.protocol import INLINE_BYTES


class Values:
    """The values of one home. The path of a value that is a file is relative to the home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def keep(self, dispatch_id: str, name: str, content: bytes | memoryview | None) -> Value | None:
        """Return `content` as the store holds it: itself if it is small, else the path of a file it is now in."""
        if content is None or len(content) <= INLINE_BYTES:
            return None if content is None else bytes(content)

        target = self._value_file(dispatch_id, name)

        with open(target, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

        return target.relative_to(self._home.folder)

    def take(self, dispatch_id: str, name: str, content: Value) -> Value | None:
        """Return what a far side has produced as the store holds it."""
        keep = self.keep if isinstance(content, bytes) else self.adopt
        return keep(dispatch_id, name, content)  # type: ignore[arg-type]

    def adopt(self, dispatch_id: str, name: str, file: Path) -> Value:
        """Return the content of a file as the store holds it. A large file is linked or, from elsewhere, copied."""
        if file.stat().st_size <= INLINE_BYTES:
            return file.read_bytes()

        return self._link(file, dispatch_id, name)

    def share(self, dispatch_id: str, name: str, value: Value) -> Value:
        """Return a value of another dispatch as this one holds it; a file is linked, or copied where it cannot be."""
        if isinstance(value, bytes):
            return value

        return self._link(self._home.folder / value, dispatch_id, name)

    def _link(self, file: Path, dispatch_id: str, name: str) -> Path:
        """Make a file a value, on disk under its name when this returns; called again, it does the same again."""
        target = self._value_file(dispatch_id, name)
        # From a dispatcher that died before it could store where the value is.
        target.unlink(missing_ok=True)

        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)

        # The name is in the folder, and need not be on disk because the file is.
        for path in (target, target.parent):
            _flush(path)

        return target.relative_to(self._home.folder)

    def discard(self, dispatch_id: str, name: str) -> None:
        """Remove a value that is no longer needed, if it is a file."""
        Path(self._home.values, dispatch_id, name).unlink(missing_ok=True)

    def resolve(self, value: Value) -> Value:
        """Return a value with its path absolute."""
        return value if isinstance(value, bytes) else self._home.folder / value

    def read(self, value: Value) -> bytes:
        """Return the bytes of a value."""
        return value if isinstance(value, bytes) else (self._home.folder / value).read_bytes()

    def _value_file(self, dispatch_id: str, name: str) -> Path:
        folder = self._home.values / dispatch_id
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name

    def discard_all(self, dispatch_id: str) -> None:
        """Remove the files of a dispatch that has not come about."""
        shutil.rmtree(self._home.values / dispatch_id, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)

    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
