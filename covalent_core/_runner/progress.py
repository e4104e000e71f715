"""What a worker and its supervisor know of each other at any moment."""

from __future__ import annotations

import mmap
import os
import struct

#: The longest path there is.
FOLDER_BYTES = 4096
#: What of a reason is passed on.
REASON_BYTES = 4096


class Progress:
    """How far the worker is in a job: memory that it shares with its supervisor.

    The worker says which task it begins and then looks whether that is cancelled; the supervisor says what is cancelled
    and then, with the worker stopped, looks which task has begun. So neither can miss the other.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2**16 + REASON_BYTES + FOLDER_BYTES)

    def clear(self) -> None:
        self._memory[:] = bytes(len(self._memory))

    def note_folder(self, path: str) -> None:
        """Let the supervisor remove a folder after the job, if the task does not come to that."""
        self._memory[-FOLDER_BYTES:] = os.fsencode(path).ljust(FOLDER_BYTES, b"\0")

    @property
    def folder(self) -> str:
        return os.fsdecode(self._memory[-FOLDER_BYTES:].rstrip(b"\0"))

    @property
    def reason(self) -> str:
        """Why what runs is being ended, where somebody has said so; the supervisor knows before the task is told."""
        return self._memory[-REASON_BYTES - FOLDER_BYTES : -FOLDER_BYTES].rstrip(b"\0").decode("utf-8", "ignore")

    @reason.setter
    def reason(self, text: str) -> None:
        content = text.encode("utf-8", "ignore")[:REASON_BYTES]
        self._memory[-REASON_BYTES - FOLDER_BYTES : -FOLDER_BYTES] = content.ljust(REASON_BYTES, b"\0")

    def begin(self, place: int) -> bool:
        """Begin the task at a place, unless it is cancelled."""
        self._memory[:4] = struct.pack("I", place)
        return self._memory[8 + place] == 0

    @property
    def place(self) -> int:
        place: int = struct.unpack("I", self._memory[:4])[0]
        return place

    def cancel(self, place: int) -> None:
        self._memory[8 + place] = 1

    def hold(self) -> None:
        """Let the worker begin no further task."""
        self._memory[4] = 1

    @property
    def held(self) -> bool:
        return self._memory[4] == 1
