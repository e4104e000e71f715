"""What one account holds: its jobs, its quantum tasks, what was asked, and how unkind AWS is to it."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from . import devices
from .faults import Fault
from .quotas import Rates
from .wire import ApiError, Request

NUMBER = "123456789012"
#: `threading` takes no longer one.
LONGEST_WAIT_SECONDS = 3600.0

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass
class Knobs:
    """How AWS is to an account. Seconds are of this machine's clock; none is scaled by `speed`.

    Attributes:
        speed: By how much faster than Amazon's the quotas of calls fill up. What may come at once is never more.
        concurrent_jobs: How many jobs may be open at once.
        account_enabled: Whether Amazon's support has let this account use hybrid jobs.
        job_queue_seconds: How long a job is QUEUED.
        hold_jobs: Whether they stay so.
        cancel_seconds: How long the container of a cancelled job still runs. The real one takes seconds.
        task_queue_seconds: How long a quantum task is QUEUED.
        hold_tasks: Whether they stay so.
        task_run_seconds: How long it is RUNNING at least.
        task_cancel_seconds: How long it is CANCELLING.
        running_tasks_complete: Whether a QPU completes what it has begun, though it was cancelled.
        task_failure: Why quantum tasks fail, if they do. Of a program set only the last executable does: it is FAILED
            and has results.
        search_lag_seconds: By how much what SearchJobs and SearchQuantumTasks know is older than the truth.
        page_size: How many they give at once, at most.
        token_seconds: How long a client token is remembered.
        forget_seconds: How long what has ended is remembered.
        setup_failure_status: How a job ends whose container could not be set up: it exits with 0.
        role_credentials_seconds: How long the credentials of a job's role are valid; they can be fetched again.
        spending_limits_reached: The ARNs of devices that would cost more than the account has allowed.
        prices: What the price list is like: ``one``, ``none`` or ``two`` matches for each product, ``broken``.
        price_seconds: How long it takes to come.
    """

    speed: float = 20.0
    concurrent_jobs: int = 3
    account_enabled: bool = True
    job_queue_seconds: float = 0.0
    hold_jobs: bool = False
    cancel_seconds: float = 0.1
    task_queue_seconds: float = 0.0
    hold_tasks: bool = False
    task_run_seconds: float = 0.0
    task_cancel_seconds: float = 0.05
    running_tasks_complete: bool = True
    task_failure: str = ""
    search_lag_seconds: float = 0.0
    page_size: int = 100
    token_seconds: float = 600.0
    forget_seconds: float = 1e9
    setup_failure_status: str = "COMPLETED"
    role_credentials_seconds: float = 3600.0
    spending_limits_reached: list[str] = field(default_factory=list)
    prices: str = "one"
    price_seconds: float = 0.0

    def turn(self, settings: dict[str, Any]) -> None:
        """Change some of them."""
        unknown = set(settings) - {knob.name for knob in fields(self)}
        assert not unknown, f"no such knob: {', '.join(sorted(unknown))}"

        for name, value in settings.items():
            setattr(self, name, value)


@dataclass
class Resource:
    """A job or a quantum task: what was asked for, what has become of it, and when.

    Attributes:
        shown: What GetJob or GetQuantumTask says of it, without its status.
        cancelled: When it was ordered to end.
    """

    arn: str
    region: str
    shown: dict[str, Any]
    cancelled: float | None = None
    _history: list[tuple[float, str]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def status(self) -> str:
        return self._history[-1][1]

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def age(self) -> float:
        """For how many seconds it has had its status."""
        return time.monotonic() - self._history[-1][0]

    def become(self, status: str) -> None:
        """Change its status; what has ended stays so, and what is being cancelled can only end."""
        with self._lock:
            if self._history and (self.ended or (self.status == "CANCELLING" and status not in ENDED)):
                return

            if status == "RUNNING" and "jobName" in self.shown:
                self.shown["startedAt"] = now()

            if status in ENDED:
                self.shown["endedAt"] = now()

            self._history.append((time.monotonic(), status))

    def status_before(self, seconds: float) -> str | None:
        """Return what its status was some time ago; None where it was not there yet."""
        then = time.monotonic() - seconds
        return next((status for moment, status in reversed(self._history) if moment <= then), None)


class Account:
    """All that belongs to who signs with one access key. Tests have one each, so that none meets another's quotas."""

    def __init__(self, access_key: str) -> None:
        self.access_key = access_key
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.knobs = Knobs()
        self.rates = Rates()
        self.jobs: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}
        self.devices = devices.for_a_new_account()
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.refusals: list[dict[str, str]] = []
        self.mistakes: list[str] = []
        self._tokens: dict[tuple[str, str], tuple[float, dict[str, Any], Any]] = {}

    def once(self, request: Request, conflict: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Answer a request with a client token: the same request again gives the same answer and makes nothing.

        Args:
            conflict: The error for the same token with another body.
        """
        key = (request.operation, request["clientToken"])

        with self.lock:
            moment, body, answer = self._tokens.get(key, (0.0, {}, None))

            if answer is None or time.monotonic() - moment > self.knobs.token_seconds:
                answer = make()
                self._tokens[key] = (time.monotonic(), request.fields, answer)
            elif body != request.fields:
                differing = sorted(name for name in body | request.fields if body.get(name) != request.get(name))
                raise ApiError(
                    conflict, "The client token was used with other parameters.", f"other: {', '.join(differing)}"
                )

            return dict(answer)

    def wait(self, resource: Resource, left: Callable[[], float]) -> bool:
        """Wait until no seconds are left, or a job or task was cancelled; return whether it was.

        Args:
            left: How many seconds there are; infinite until something has changed.
        """
        with self.changed:
            while resource.cancelled is None and (seconds := left()) > 0:
                self.changed.wait(min(seconds, LONGEST_WAIT_SECONDS))

        return resource.cancelled is not None

    def order_end(self, resource: Resource) -> None:
        """Cancel a job or a task."""
        with self.changed:
            if resource.cancelled is None:
                resource.cancelled = time.monotonic()
                resource.become("CANCELLING")

            self.changed.notify_all()

    def take_fault(self, operation: str) -> Fault | None:
        """Return what is to go wrong with this call."""
        with self.lock:
            for fault in self.faults:
                if fault.operation == operation and fault.times > 0:
                    fault.times -= 1
                    return fault

        return None

    def find(self, kind: str, arn: str, region: str) -> Any:
        """Return a job or a quantum task.

        Raises:
            ApiError: There is none, no more, or in another region.
        """
        found = {"job": self.jobs, "quantum-task": self.tasks}[kind].get(arn)
        forgotten = found is not None and found.ended and found.age > self.knobs.forget_seconds

        if found is None or forgotten or found.region != region:
            raise ApiError("ResourceNotFoundException", f"{arn} not found")

        return found


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)
