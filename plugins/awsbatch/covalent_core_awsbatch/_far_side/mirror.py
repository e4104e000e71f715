"""What the runner leaves in its folder, brought to S3 as it appears."""

import contextlib
import os
import time

#: How much of what a task has written is shown while it runs, and how often, in seconds.
OUTPUT_BYTES, OUTPUT_SECONDS = 64 * 1024, 1.0

OUTCOME, VALUE = ".outcome", ".value"


class Mirror:
    """The result files of one job.

    Args:
        folder: Where the runner writes them.
    """

    def __init__(self, objects, folder, ticket):
        self._objects = objects
        self._folder = folder
        self._ticket = ticket
        self._sent = set()
        self._shown = {}
        self._shown_at = 0.0

    def look(self):
        """Bring what is new.

        Raises:
            NotDeliveredError: That cannot be done.
        """
        names = self._names()
        outcomes = [name for name in names if name.endswith(OUTCOME) and name not in self._sent]

        # What a node has written is taken from these files before its outcome is there.
        if outcomes or time.monotonic() - self._shown_at > OUTPUT_SECONDS:
            self._shown_at = time.monotonic()
            self._show(names)

        for name in outcomes:
            self._send(name)

    def _names(self):
        with contextlib.suppress(FileNotFoundError):
            return [name[len(self._ticket) :] for name in os.listdir(self._folder) if name.startswith(self._ticket)]

        return []

    def _path(self, name):
        return os.path.join(self._folder, self._ticket + name)

    def _send(self, outcome):
        value = outcome[: -len(OUTCOME)] + VALUE

        if os.path.exists(self._path(value)):
            self._objects.put_file("results/" + value[1:], self._path(value))

        self._objects.put_file("results/" + outcome[1:], self._path(outcome))
        self._sent.add(outcome)

    def _show(self, names):
        for stream in ("stdout", "stderr"):
            for name in names:
                if name.endswith("." + stream):
                    # The next node may have begun meanwhile, and what cannot be shown comes with the outcome.
                    with contextlib.suppress(OSError):
                        self._show_one("task." + stream, self._path(name))

    def _show_one(self, name, path):
        size = os.path.getsize(path)

        if size != self._shown.get(name, 0):
            with open(path, "rb") as file:
                file.seek(max(0, size - OUTPUT_BYTES))
                self._objects.put("results/" + name, file.read(OUTPUT_BYTES))

            self._shown[name] = size
