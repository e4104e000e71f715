"""What a runner and those outside of it have to agree on: the names of its files, and its limits.

Files of a job; all names begin with its prefix, which is ``results/<ticket>`` for a bundle::

    .process              symbolic link to the job handle, "<pid>.<start time>.<tag>@<place>"; who creates it owns the
                          job
    .call                 the job (in a bundle: an entry of the zip)
    .<node>.outcome       how a node ended: a line of JSON as below, then its pickled value or exception
    .<node>.value         a value that is too large for that
    .ended                as .process: every node has its outcome and nothing is alive
    .reserve              the room for an outcome, taken beforehand, as long as the runner lives (where several runners
                          share the job: .task-RUNNER.reserve)
    .lease                touched by who wants the job to go on
    .cancel               nodes of a pack that are to be ended while the others go on, as a JSON list; to be renamed
                          into place. Done when each has its outcome. With a lease, also the only node of a job
    .reason               why the job is to be ended, for its tasks to read: UTF-8, there before the runner is told
    .<pid>.stdout         what the node that is running has written so far; .stderr likewise (of a warm worker:
                          <tag>.stdout)

Of a warm worker, whose jobs have no files as long as its dispatcher lives::

    <tag>.ended           its supervisor was killed or stopped, and nothing of it is alive: a symbolic link to words
                          that say how

And where several runners share it::

    .<node>.process       symbolic link to ``task-RUNNER``: who creates it runs the node
    .node-<node>.stdout   what that node has written so far; .stderr likewise (of a runner that waits:
                          .task-RUNNER.stdout)
    .task-RUNNER.ended    that runner has ended by itself, and nothing of what it ran is alive
    .task-RUNNER.over     made by who started it, when it has ended in whatever way: nobody need wait for what it ran

The line of JSON begins with "status" and "ended_by", in this order::

    status                COMPLETED, FAILED, or CANCELLED: the task has raised TaskCancelledError; TERMINATED: it was
                          told to end, and did; SKIPPED: it did not begin, for one that it needs did not complete
    ended_by              what ended the task, null if that was nothing but the task itself:
                          "signal 9": its process was ended by this signal, and not by its runner
                          "exit 1": its process ended with this code before the function had returned
                          "timeout": it ran for too long
                          "lease": nobody has touched .lease
                          "cancel": somebody asked for it, over a line or with .cancel
                          "told": its runner has had SIGTERM
    error                 what a person is to read, null if it has completed
    started, ended        seconds since 1970, by the clock of this host; started is null if it did not begin
    stdout, stderr        the end of what it has written
    file                  whether the value or exception is in .<node>.value
"""

from __future__ import annotations

#: The environment variable that marks a supervisor and everything it starts, so that what it left can be found if it is
#: itself killed from outside.
TAG = "COVALENT_CORE_SUPERVISOR"

#: The folder that a bundle writes its files to, seen from where it is started.
FOLDER = "results"

#: What the names of these files end with.
PROCESS, ENDED, LEASE, CANCEL, ORDER = ".process", ".ended", ".lease", ".cancel", ".order"
OUTCOME, VALUE = ".outcome", ".value"

#: Who owns a job that must not start any more: what ``.process`` then leads to.
NOBODY = "nobody"

#: The files of a node, by what follows the prefix of its job and its number.
RESULTS = (".outcome", ".outcome.part", ".value")

#: The files of a supervisor, by what follows its tag.
OUTPUTS = (".lock", ".stdout", ".stderr")

#: What is larger than this travels in a file, not in a message.
MESSAGE_BYTES = 96 * 1024

#: Values above this many bytes have a file of their own.
INLINE_BYTES = 32 * 1024

#: How much of what a task wrote to its standard output and error is kept: the end of it.
OUTPUT_BYTES = 64 * 1024

#: How much of it is on the disk while the task runs, about.
OUTPUT_BYTES_ON_DISK = 4 * 2**20
