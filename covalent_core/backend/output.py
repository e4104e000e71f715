"""What the tasks of a job write while they run, shown as it grows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from covalent_core._model.job import Job
from covalent_core._runner.protocol import OUTCOME, OUTPUT_BYTES

#: The beginning of the names of files that hold what a node has written which is not the only one that runs.
NODE = ".node-"

#: The endings of the names of files that hold what is written to standard output and error.
STREAMS = (".stdout", ".stderr")

#: Returns the end of a file: `OUTPUT_BYTES` of it are shown.
ReadEnd: TypeAlias = Callable[[str], Awaitable[bytes]]


class Output:
    """Shows what the tasks of a job have written, when there is more.

    Args:
        job: The job; ``job.report_output`` is called for a node of it that runs.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shown: dict[int, Mapping[str, Hashable]] = {}

    async def show(self, files: Mapping[str, Hashable], read_end: ReadEnd) -> None:
        """Show what is new in a look at the files of the job. Nothing is read of what has not grown.

        Args:
            files: What there is: by what follows the ticket in the name of a file, such as ``.4711.stdout`` and
                ``.3.outcome``, its size, or whatever changes as it grows.
            read_end: Is called with such a name. What it has no file for any more is left out.

        Raises:
            Exception: What `read_end` raises besides FileNotFoundError.
        """
        running = [node_id for node_id in self._job.node_ids if f".{node_id}{OUTCOME}" not in files]

        for node_id, sizes in outputs(files, running).items():
            if sizes != self._shown.get(node_id):
                with suppress(FileNotFoundError):
                    texts = {name[-len(STREAMS[0]) :]: end_of(await read_end(name)) for name in sizes}
                    self._shown[node_id] = sizes
                    self._job.report_output(node_id, *(texts.get(stream, "") for stream in STREAMS))


def outputs(files: Mapping[str, Hashable], running: Sequence[int]) -> Mapping[int, Mapping[str, Hashable]]:
    """Return by node the files with what it has written so far, and their sizes; empty ones are left out.

    Args:
        files: What there is of a job, as `Output.show` takes it.
        running: Its nodes that have not ended. The first of them runs, unless the files say of which node they are.
    """
    found: dict[int, dict[str, Hashable]] = {}

    for name, size in files.items():
        owner, stream = name[: -len(STREAMS[0])], name[-len(STREAMS[0]) :]
        named = owner.startswith(NODE)
        node_id = int(owner[len(NODE) :]) if named else next(iter(running), -1)

        if stream in STREAMS and size and node_id in running:
            found.setdefault(node_id, {})[name] = size

    return found


def end_of(content: bytes) -> str:
    """Return the end of what a task has written as text; a character that the cut has divided is left out."""
    end = content[-OUTPUT_BYTES:]
    # What follows the first byte of a character has the bits 10 in front, and there are at most three of it.
    divided = next((place for place, byte in enumerate(end[:4]) if byte & 0xC0 != 0x80), 0)
    return end[divided:].decode("utf-8", "replace")
