"""Run a job: what executes on the far side, with nothing but Python 3.8 and the zip it travels in.

Three processes: a guard, its child, the supervisor, and the worker below that, which opens the job and calls the
functions. The supervisor is the subreaper of everything below it and outlives every end of the worker, so it can end
the whole process tree of a job, double-forked and ``setsid`` children included, and prove it: a subreaper without
children has no descendants. The guard, whose process id others know, does the same if the supervisor is itself killed;
and if the guard is killed, the supervisor ends its job. Only if both are killed at once is it not known what is left.

Run as ``python bundle.pyz`` it runs the job of the bundle in the current directory; with ``--lease SECONDS`` it ends
it when nobody has touched ``.lease`` for so long. Run with ``--serve LINE LOCK FOLDER`` it takes jobs from a
dispatcher over the socket LINE, one at a time, and keeps its worker warm between them. Then the files of `protocol`
exist only where something is too large for a message, and when the dispatcher has died: all that it has not released is
then left in files for the next one, and after that ``FOLDER/<tag>.lock`` is removed, which is locked as LOCK while this
lives.

Run with ``--spread COMMAND...`` it leaves the nodes of the job to the runners that COMMAND starts, on this machine or
others that see the folder, and ends after them. Each is run with ``--share VARIABLE``, an environment variable that is
different for each: its value is the RUNNER of `protocol`.

Others use `protocol`, `processes`, `task` and `deps`. Imports `errors` only.
"""
