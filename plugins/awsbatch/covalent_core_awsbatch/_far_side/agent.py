"""The agent: wins the job or leaves it, runs its bundle, and brings to S3 what that leaves."""

import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.error

from mirror import Mirror
from objects import REFUSALS, NotDeliveredError, Objects, patiently
from request import copy, send
from runner import Runner
from watcher import Watcher

#: The exit codes that say what has become of a job besides its results.
NOT_OURS, NO_FILES, LINK_IS_DEAD, NOT_DELIVERED = 81, 82, 83, 84

#: Seconds between two looks at what the runner leaves, at first and at last.
SHORTEST, LONGEST = 0.05, 0.5


class Agent:
    """Runs one job.

    Args:
        order: What the start command was given.
        record: The line of the list that is this job's own.
    """

    def __init__(self, order, record):
        self._order = order
        self._record = record
        self._ticket = record["ticket"]
        self._objects = Objects(record.get("base"), order["region"], record.get("links"))
        self._runner = None
        self._told = ""
        signal.signal(signal.SIGTERM, lambda signum, frame: self.stop("SIGTERM"))

    def stop(self, why):
        """Let the runner end the job; it sees to the grace period."""
        self._told = self._told or why

        if self._runner is not None:
            self._runner.terminate()

    def run(self):
        """Return the exit code."""
        name, owner = self._record["owner"], own_name()

        if self._objects.claim(name, owner) != owner:
            say("this job belongs to somebody else, or must not begin any more")
            return NOT_OURS

        folder = tempfile.mkdtemp(prefix="covalent-")

        try:
            self._objects.download("bundle.pyz", os.path.join(folder, "bundle.pyz"))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

            # Its files were removed before it was won: then nothing may be left of it.
            self._objects.delete(name)
            say("the files of this job are gone: nobody wants it any more")
            return NO_FILES

        self._run_bundle(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self._objects.put("results/ended", json.dumps({"told": self._told}).encode())
        return 0

    def _run_bundle(self, folder):
        results = os.path.join(folder, "results")
        os.mkdir(results)
        prefix = os.path.join(results, self._ticket)
        began = time.time()
        deadline = began + (self._order["time_limit"] or float("inf"))
        renewal = self._record.get("renewal", 3600)
        watcher = Watcher(self._objects, self.stop, prefix, self._order["beat"], renewal, deadline)

        self._runner = Runner(folder, deadline)

        if self._told:
            # It came while the runner was started.
            self.stop(self._told)

        watcher.start()

        try:
            self._bring_results(Mirror(self._objects, results, self._ticket))
        except NotDeliveredError:
            # What nobody can hear of need not go on.
            self.stop("lost")
            self._runner.wait()
            raise
        finally:
            watcher.finished.set()
            # Its last sign of life must not come after the end.
            watcher.join()

    def _bring_results(self, mirror):
        pause = SHORTEST

        while not self._runner.wait(pause):
            mirror.look()
            pause = min(pause * 1.2, LONGEST)

        mirror.look()


def own_name():
    """Return who this is: each attempt of Batch at a job is somebody else."""
    return "%s %s" % (os.environ["AWS_BATCH_JOB_ID"], os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1"))


def record_of(order, lines):
    """Return the line of the list that is this job's own: that of its place in the array."""
    place = int(os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "0"))
    begin, end = place * order["width"], (place + 1) * order["width"]

    if lines:
        return json.loads(lines[begin:end])

    def read():
        wanted = {"Range": "bytes=%d-%d" % (begin, end - 1)}

        with send("GET", order["url"], order["region"], headers=wanted) as answer:
            content = io.BytesIO()
            copy(answer, content)
            return json.loads(content.getvalue())

    return patiently(read, "the list of jobs", final=REFUSALS)


def say(words):
    sys.stderr.write("Covalent Core: %s\n" % words)
    sys.stderr.flush()


def main(order, lines):
    """Run the job of an order.

    Args:
        lines: The list of jobs; empty if it is so long that a job fetches its own line.
    """
    # All of the agent is imported.
    os.unlink(sys.path.pop(0))

    try:
        code = Agent(order, record_of(order, lines)).run()
    except NotDeliveredError as error:
        say("the results cannot be delivered: %s" % error)
        code = NOT_DELIVERED
    except urllib.error.HTTPError as error:
        dead = error.code in (400, 401, 403) and not order["region"]
        say("the files of this job cannot be had: %s; %s" % (error, error.read()[:500].decode(errors="replace")))
        code = LINK_IS_DEAD if dead else NO_FILES

    sys.stderr.flush()
    os._exit(code)
