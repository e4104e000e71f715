"""The hooks of an executor.

An executor is any object whose methods are marked with `hookimpl` and named like the functions below. A method takes
the arguments it needs, in any order, under the names they have here; new arguments never break it. It is ``async
def``, or a plain ``def`` that blocks, which the core then runs in a thread. Its class is registered as an entry point
in the group ``covalent_core.executors``.

The object is its own configuration: what its class takes as arguments it keeps as attributes of the same names, each
of a type that JSON can carry (pydantic converts). An option annotated ``pydantic.SecretStr`` is never stored. If the
object is an asynchronous context manager, the core enters it once and shares it between all jobs with equal settings.

Options that the core reads where an executor has them: ``max_workers``, how many of its jobs may be between
`provision` and the end of `run` at once; ``grace``, the seconds between SIGTERM and SIGKILL of a cancelled task, where
the electron does not say (``job.grace`` is what applies); and ``pack``, how nodes are packed into jobs, as `ct.lattice`
takes it.

The core calls the hooks in the order pickle, upload, provision, run, fetch, release. What a hook returns is on disk
before the next one starts, and a dispatcher that comes after a crash goes on at the first that has no output. Before
each one the core looks whether the job has been cancelled; once it has, only `cancel`, `find` and `release` are
called.

Nothing ends a job but a positive word about this job from somebody who would know. A look at a backend has three
answers: alive, over, not known. A hook that cannot know, because its backend does not answer or because a list leaves
the job out, raises `BackendUnreachableError` or, out of `find`, returns `Perhaps`: the core asks again with growing
pauses, and the node says what it waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from covalent_core._model.job import Job, Perhaps, Results

PROJECT = "covalent_core"

hookspec = HookspecMarker(PROJECT)

#: Marks a method as the implementation of the hook of its name.
hookimpl = HookimplMarker(PROJECT)

#: The hooks that an executor must have; the others have a default.
REQUIRED = ("upload", "provision", "run", "fetch", "cancel")


@hookspec(firstresult=True)
def pickle(job: Job) -> bytes | memoryview | None:
    """Return the payload: all that the far side needs. Default: the bundle, a zip that ``python`` runs.

    A payload of many megabytes may be a memoryview of a file. Interrupted by a cancel.
    """


@hookspec(firstresult=True)
def upload(job: Job, payload: bytes | memoryview) -> str | None:
    """Put the payload where the backend can reach it and return the location, one that names no other job's files.

    Interrupted by a cancel; then `release` is called with the location None, to remove what is half there.
    """


@hookspec(firstresult=True)
def provision(job: Job, location: str) -> str | None:
    """Ask the backend for compute, in the name of ``job.ticket``, and return the job handle.

    The task may start at once. Not interrupted by a cancel, for nobody could name the job then: it runs to its answer,
    within a time limit, and `cancel` follows. If it raises, `find` decides whether the backend has taken the job;
    only `NotNow` says that it surely has not, and that it may later.
    """


@hookspec(firstresult=True)
def run(job: Job, location: str, job_handle: str) -> str | None:
    """Return when the job has ended, however it ended. Raise `JobEndedError` if the backend has ended it.

    It may return last words of the backend, such as an exit code and the end of a log: they are shown where the runner
    has left no outcome. May be called again after a crash, by another process that knows only the handle. Interrupted
    by a cancel.
    """


@hookspec(firstresult=True)
def fetch(job: Job, location: str, job_handle: str) -> Results | None:
    """Return the result files that the runner wrote to ``results``. Interrupted by a cancel.

    Either a local folder with the files, which the core may move out of it, or a mapping from the name of each file to
    its bytes, or to its path where it is large.
    """


@hookspec(firstresult=True)
def cancel(task_metadata: dict[str, Any], job_handle: str, job: Job, location: str) -> Results | None:
    """End the job. When this returns, nothing of it is alive; if that cannot be confirmed, raise.

    A job that has ended already, or that the backend no longer knows, is confirmed. Called again, with growing pauses,
    until it returns. It may return the result files as `fetch` does, if they are at hand: the core then keeps what the
    task had written to its standard output and error, and nothing else.

    Args:
        task_metadata: ``dispatch_id`` and ``node_id``; for a pack ``node_ids`` too.
        job_handle: What `provision` or `find` returned.
    """


@hookspec(firstresult=True)
def cancel_members(job: Job, location: str, job_handle: str, node_ids: list[int]) -> Results | None:
    """End some nodes of a pack while `run` waits for the others. When this returns, nothing of them is alive.

    Without this hook the whole job is ended and its other nodes start again in another. The runner does it when these
    node ids are in ``results/<ticket>.cancel``, a JSON list renamed into place; each has its outcome when it has ended.
    It may return result files as `fetch` does. Called again, with growing pauses, until it returns.
    """


@hookspec(firstresult=True)
def find(job: Job, location: str) -> str | Perhaps | None:
    """Return the job handle that the backend knows under this job's ticket, None, or `Perhaps`. Default: None.

    Called where `provision` may have been accepted but its answer was not stored. None means that nothing will come of
    that request. Where that is not known, as while a request may still be on its way, `Perhaps` says so: the core asks
    again, and after a while it sets ``job.barred``. If ``job.barred``, nothing may start under this ticket afterwards:
    bar it first, then look.
    """


@hookspec(firstresult=True)
def release(job: Job, location: str | None) -> None:
    """Remove what `upload` left, and let nothing start under this job's ticket any more. Default: nothing.

    Called at the end of every job, whatever the end was, and again with growing pauses if it raises. An executor that
    leaves files where they are, because its user wants to see them, bars the ticket all the same.
    """
