"""Every exception that Covalent Core raises on purpose.

::

    CovalentError
    ├── DispatchError
    │   ├── DispatchNotFoundError      no dispatch has this id
    │   ├── NodeNotFoundError          the dispatch has no node with this id
    │   ├── SublatticeNodeError        a single node of a sublattice was to be cancelled
    │   ├── GraphError                 the lattice says something that cannot become a graph
    │   ├── ResultTimeoutError         the dispatch had not ended when the time was up
    │   └── ScheduleError              a schedule is never due, or makes no sense otherwise
    │       └── ScheduleNotFoundError  there is no schedule of this name
    ├── DispatcherError                .dispatch_id .outcome: no dispatcher process could be started, or each fails
    ├── StoreError                     the store cannot be used where it is
    ├── ExecutorError
    │   ├── ExecutorNotFoundError      no installed plugin brings this executor
    │   ├── ExecutorOptionError        an option is unknown, mistyped or must not be stored
    │   ├── ExecutorPluginError        the plugin's hooks do not fit the hookspecs
    │   ├── BackendUnreachableError    .refused: the backend could not be asked; it is asked again
    │   ├── NotNow                     .reason .retry_after: the backend takes no further job at the moment
    │   └── JobEndedError              .retry: the backend ended a job before its task was through
    ├── DependencyError                what a task needs before it runs could not be had
    ├── ForeignError                   .kind .text: stands for an exception of a task that cannot be opened here
    └── TaskError                      .dispatch_id .node_id
        ├── TaskRuntimeError           .step .stderr: a task failed
        └── TaskCancelledError         .reason: a task was cancelled
"""

from __future__ import annotations

from typing import Optional


class CovalentError(Exception):
    """The root of all errors below."""


class DispatchError(CovalentError):
    """Something about a dispatch as a whole."""


class DispatchNotFoundError(DispatchError):
    """No dispatch has this id in the store that was looked at."""


class NodeNotFoundError(DispatchError):
    """The dispatch exists but has no node with this id."""


class SublatticeNodeError(DispatchError):
    """A single node of a sublattice was to be cancelled; a sublattice can be cancelled only as a whole."""


class GraphError(DispatchError):
    """A lattice does something with an electron that cannot be known before the electron has run."""


class ResultTimeoutError(DispatchError, TimeoutError):
    """The dispatch had not ended when the time was up; it goes on."""


class ScheduleError(DispatchError):
    """A schedule is never due, or makes no sense otherwise."""


class ScheduleNotFoundError(ScheduleError):
    """There is no schedule of this name."""


class DispatcherError(CovalentError):
    """The dispatcher process could not be started, or fails again and again; what is in the store waits for it.

    Attributes:
        dispatch_id: The dispatch that the call has stored or was about, where there is one.
        outcome: What the call of ``ct.cancel`` did, where it was one: the order is on disk.
    """

    def __init__(self, message: str = "", *, dispatch_id: Optional[str] = None, outcome: object = None) -> None:
        super().__init__(message)
        self.dispatch_id = dispatch_id
        self.outcome = outcome


class StoreError(CovalentError):
    """The store cannot be used: a network file system, or one written by a newer version."""


class ExecutorError(CovalentError):
    """Something about an executor or its plugin."""


class ExecutorNotFoundError(ExecutorError):
    """No installed plugin brings an executor of this name or class."""


class ExecutorOptionError(ExecutorError):
    """An option of an executor is unknown, has the wrong type, or is a secret that must not be stored."""


class ExecutorPluginError(ExecutorError):
    """A plugin's hooks do not fit the hookspecs, or one of them gave what it must not give."""


class BackendUnreachableError(ExecutorError):
    """A backend could not be asked. Out of a hook it means: call it again, nothing is known.

    The core does so with growing pauses, for as long as it takes, and the node says what it waits for.

    Attributes:
        refused: Whether somebody is there and has said no, as to a key that has expired: asked again only after
            minutes, for who is refused often is locked out.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class NotNow(ExecutorError):
    """Out of `provision`: the backend has not taken the job because it has enough of them; it may take it later.

    The core holds the jobs of the executor back and lets one of them ask again when the pause is over. That costs no
    attempt, and a cancel ends the waiting at once.

    Attributes:
        reason: Why not, as the backend says it.
        retry_after: Seconds until one job asks again.
    """

    def __init__(self, reason: str, retry_after: float = 30.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class JobEndedError(ExecutorError):
    """The backend, or somebody at the backend, has ended a job before its task was through.

    Attributes:
        retry: Whether another attempt can end otherwise. Where it cannot, as for a task that needs more memory than it
            has asked for, the electron's `retries` are not used up in vain.
    """

    def __init__(self, message: str, *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class DependencyError(CovalentError):
    """A shell command or an installation that a task needs before it runs has failed."""


class ForeignError(CovalentError):
    """Stands for an exception of a task that cannot be pickled, or cannot be opened in this process.

    Attributes:
        kind: The name of its class.
        text: What it says.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class TaskError(CovalentError):
    """Something about one task.

    Attributes:
        dispatch_id: The dispatch of the task, where it is known.
        node_id: The node of the task, where it is known.
    """

    def __init__(self, message: str = "", *, dispatch_id: Optional[str] = None, node_id: Optional[int] = None) -> None:
        super().__init__(message)
        self.dispatch_id = dispatch_id
        self.node_id = node_id


class TaskRuntimeError(TaskError):
    """A task failed; ``__cause__`` is the exception of the user's function where it could be brought back.

    Attributes:
        step: The step in which it failed: pickle, upload, provision, run or fetch.
        stderr: What the task wrote to its standard error.
    """

    def __init__(
        self,
        message: str = "",
        *,
        dispatch_id: Optional[str] = None,
        node_id: Optional[int] = None,
        step: str = "run",
        stderr: str = "",
    ) -> None:
        super().__init__(message, dispatch_id=dispatch_id, node_id=node_id)
        self.step = step
        self.stderr = stderr


class TaskCancelledError(TaskError):
    """A task was cancelled. Raised by a hook or by ``ct.checkpoint()`` it means: stop here, clean up, leave.

    Attributes:
        reason: Why, in the words of whoever cancelled.
    """

    def __init__(
        self, reason: str = "Cancelled by user", *, dispatch_id: Optional[str] = None, node_id: Optional[int] = None
    ) -> None:
        super().__init__(reason, dispatch_id=dispatch_id, node_id=node_id)
        self.reason = reason
