"""What may go wrong on the way to AWS and back."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .request import Request

Kind = Literal["refused", "failed", "lost", "unreached", "late", "slow", "cut_upload", "cut_answer", "rate"]
KINDS = ("refused", "failed", "lost", "unreached", "late", "slow", "cut_upload", "cut_answer", "rate")
# How services say that it was too much, and that they have failed.
_THROTTLED = {
    "batch": ("TooManyRequestsException", "Too Many Requests", 429),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "": ("ThrottlingException", "Rate exceeded", 400),
}
_FAILED = {
    "batch": ("ServerException", "Internal Server Error", 500),
    "s3": ("InternalError", "We encountered an internal error. Please try again.", 500),
    "": ("InternalFailure", "Internal Server Error", 500),
}


@dataclass
class Fault:
    """One thing that goes wrong, with how often and where.

    Attributes:
        operation: ``SubmitJob``, ``PutObject``; a trailing ``*`` is for any end.
        kind: ``refused``: answered with the error, and the service never sees it. ``failed``: the service does it, and
            the error is answered. ``lost``: the service does it, and the connection is closed. ``unreached``: the
            connection is closed at once. ``late``: the service sees it only after ``seconds``, whether the client still
            waits or not. ``slow``: the service does it at once and the answer takes ``seconds``. ``cut_upload``: the
            connection is closed in the middle of the body. ``cut_answer``: in the middle of the answer. ``rate``: the
            error is answered to what is more than ``per_second``.
        code: Of the error, with ``message`` and ``status``; else what the service itself says when it throttles or
            fails.
        target: Only requests with this text in their path or body.
        skip: So many pass first.
        times: So many get it; None is all.
        chance: Each gets it with this probability, by ``seed``.
    """

    operation: str
    kind: Kind
    code: str = ""
    message: str = ""
    status: int = 0
    seconds: float = 0.0
    per_second: float = 5.0
    target: str = ""
    skip: int = 0
    times: int | None = None
    chance: float = 1.0
    seed: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}, only {KINDS}")

        self._over = threading.Event()
        self._random = random.Random(self.seed)
        self._allowed, self._since = self.per_second, time.monotonic()

    def takes(self, request: Request) -> bool:
        """Whether this request gets it; if it does, that counts."""
        if not self._is_for(request) or self.hits == self.times:
            return False

        if self.skip:
            self.skip -= 1
            return False

        if self._random.random() >= self.chance or (self.kind == "rate" and self._is_within_rate()):
            return False

        self.hits += 1
        return True

    def error_of(self, service: str) -> tuple[str, str, int]:
        """Return code, message and HTTP status of what is answered."""
        usual = _FAILED if self.kind == "failed" else _THROTTLED
        code, message, status = usual.get(service, usual[""])
        return self.code or code, self.message or message, self.status or status

    def show(self) -> dict[str, Any]:
        """Return it as JSON can have it."""
        return asdict(self)

    def wait(self) -> None:
        """Wait as long as it says, or until all is to go well again."""
        self._over.wait(self.seconds)

    def end(self) -> None:
        """End what waits."""
        self._over.set()

    def _is_for(self, request: Request) -> bool:
        wanted, given = self.operation, request.operation
        named = given.startswith(wanted[:-1]) if wanted.endswith("*") else given == wanted
        return named and request.is_about(self.target)

    def _is_within_rate(self) -> bool:
        moment = time.monotonic()
        self._allowed = min(self.per_second, self._allowed + (moment - self._since) * self.per_second)
        self._since = moment

        if self._allowed < 1:
            return False

        self._allowed -= 1
        return True


class Faults:
    """All that goes wrong now."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let this go wrong too; what was added first is looked at first."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> list[dict[str, Any]]:
        """Let all go well again; return what went wrong how often."""
        with self._lock:
            ended, self._faults = self._faults, []

        for fault in ended:
            fault.end()

        return [fault.show() for fault in ended]

    def of(self, request: Request) -> Fault | None:
        """Return what goes wrong with this request, if anything does."""
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(request)), None)


class Calls:
    """How often what was asked.

    Attributes:
        received: Requests that arrived here.
        reached: Those of them that the service itself has seen.
    """

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.log: list[tuple[float, str, int]] = []
        self._lock = threading.Lock()

    def arrive(self, operation: str) -> None:
        """Count one that has come."""
        with self._lock:
            self.received[operation] += 1

    def reach(self, operation: str, status: int) -> None:
        """Count one that the service has answered."""
        with self._lock:
            self.reached[operation] += 1
            self.log.append((time.time(), operation, status))

    def clear(self) -> None:
        """Count from 0."""
        with self._lock:
            self.received.clear()
            self.reached.clear()
            self.log.clear()
