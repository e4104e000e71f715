"""Orders to end jobs: gathered, given in fifties or for whole arrays, and given again where AWS has not taken them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from anyio import sleep
from botocore.exceptions import ClientError

from covalent_core.backend import Together
from covalent_core_awsbatch._answers import THROTTLED, code_of
from covalent_core_awsbatch._looks import sorted_out
from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch.errors import BatchError, BatchRefusedError, BatchUnreachableError

#: How many jobs TerminateJobs takes at once, and how long a reason may be.
CHUNK, REASON_LENGTH = 50, 1024

#: Seconds that an order waits for the next one that is being prepared, and for all of them.
GATHERING, LONGEST_WAIT = 1.0, 20.0

#: Seconds between two attempts, at first and at last, and for which they are made; then the cancel is repeated.
PAUSES, PATIENCE = (0.5, 15.0), 90.0

#: What an endpoint says that does not know an operation.
UNKNOWN_OPERATION = {"UnknownOperationException", "InvalidAction", "404", "405", "501"}

#: What may be another answer later, of the errors that TerminateJobs says of single jobs.
PASSING = THROTTLED | {"ServerException", "InternalServerError", "InternalFailure", "ServiceUnavailable"}


class Order(NamedTuple):
    """An order to end a job.

    Attributes:
        ticket: What stands at the front of the reason, that we know it for ours.
        reason: In the words of the user.
    """

    job_id: str
    ticket: str
    reason: str


def mark_of(ticket: str) -> str:
    """Return what the tickets of all jobs of a dispatch begin with: what one call says of many of them."""
    return "-".join(ticket.split("-")[:2])


#: What stands at the front of a reason that goes with jobs of several dispatches.
OURS = "covalent-core"


def words_of(orders: Sequence[Order]) -> str:
    """Return the reason that AWS keeps with jobs which end for the same one."""
    tickets = [order.ticket for order in orders]
    marks = {mark_of(ticket) for ticket in tickets}
    mark = tickets[0] if len(tickets) == 1 else marks.pop() if len(marks) == 1 else OURS
    return f"{mark}: {orders[0].reason or 'cancelled'}"[:REASON_LENGTH]


def is_ours(reason: str, ticket: str) -> bool:
    """Return whether AWS says of a job that it was we who ended it."""
    return reason.startswith((mark_of(ticket), f"{OURS}: "))


class Cancels:
    """Carry out orders to end jobs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._orders: Together[Order, None] = Together(
            self._carry_out, moment=0.1, patience=GATHERING, longest=LONGEST_WAIT
        )
        self._coming = 0
        self._ordered: dict[str, set[int]] = {}
        self._in_fifties = True
        #: How many children an array has.
        self.sizes: dict[str, int] = {}

    async def give(self, order: Order) -> None:
        """Return when AWS has taken the order. That is no end yet.

        Raises:
            BatchError: It has not been taken.
        """
        await self._orders.ask(order, expected=lambda: self._coming > 0)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Know that an order is about to be given: those that come together go together."""
        self._coming += 1

        try:
            yield
        finally:
            self._coming -= 1

    async def _carry_out(self, orders: list[Order]) -> Mapping[Order, Exception | None]:
        wanted = {order.job_id: order for order in orders}
        single, arrays = sorted_out(wanted)
        whole: dict[str, list[str]] = {}

        for parent, children in arrays.items():
            ordered = self._ordered.setdefault(parent, set())
            ordered |= children
            names = [f"{parent}:{place}" for place in children]

            if len(ordered) == self.sizes.get(parent):
                whole[parent] = names
            else:
                single += names

        found: dict[str, Exception | None] = {}

        for parent, names in whole.items():
            error = (await self._end_patiently([parent], words_of([wanted[name] for name in names])))[parent]
            found |= dict.fromkeys(names, error)

        for alike in by_reason([wanted[job_id] for job_id in single]):
            for begin in range(0, len(alike), CHUNK):
                part = alike[begin : begin + CHUNK]
                found |= await self._end_patiently([order.job_id for order in part], words_of(part))

        return {order: found[order.job_id] for order in orders}

    async def _end_patiently(self, job_ids: Sequence[str], reason: str) -> dict[str, Exception | None]:
        """Return by job what has kept AWS from taking the order for so long that it is given up for now."""
        found: dict[str, Exception | None] = {}
        left, pause, latest = list(job_ids), PAUSES[0], time.monotonic() + PATIENCE

        while left:
            answers = await self._end(left, reason)
            left = [job_id for job_id in left if isinstance(answers[job_id], BatchUnreachableError)]
            found |= answers

            if time.monotonic() + pause > latest:
                break

            if left:
                await sleep(pause)
                pause = min(2 * pause, PAUSES[1])

        return found

    async def _end(self, job_ids: Sequence[str], reason: str) -> dict[str, Exception | None]:
        if self._in_fifties and len(job_ids) > 1:
            answers = await self._end_all(job_ids, reason)

            if answers is not None:
                return answers

            self._in_fifties = False

        return {job_id: await self._end_one(job_id, reason) for job_id in job_ids}

    async def _end_all(self, job_ids: Sequence[str], reason: str) -> dict[str, Exception | None] | None:
        """Return by job what AWS answered; None if it does not know this call."""
        if not hasattr(self._service.once, "terminate_jobs"):
            return None

        call = partial(self._service.once.terminate_jobs, jobs=list(job_ids), reason=reason)

        try:
            answer = await self._service.run(call, f"TerminateJobs of {len(job_ids)} jobs", ending=True)
        except BatchError as error:
            cause = error.__cause__
            unknown = isinstance(cause, ClientError) and code_of(cause) in UNKNOWN_OPERATION
            return None if unknown else dict.fromkeys(job_ids, _passing(error))

        return dict.fromkeys(job_ids) | {error["job"]: _refusal(error) for error in answer.get("errors", ())}

    async def _end_one(self, job_id: str, reason: str) -> Exception | None:
        call = partial(self._service.once.terminate_job, jobId=job_id, reason=reason)

        try:
            await self._service.run(call, f"TerminateJob {job_id}", ending=True)
        except BatchError as error:
            return _passing(error)

        return None


def by_reason(orders: Sequence[Order]) -> list[list[Order]]:
    """Return orders that may go with one call: one reason goes with each."""
    found: dict[str, list[Order]] = {}

    for order in orders:
        found.setdefault(order.reason, []).append(order)

    return list(found.values())


def _passing(error: BatchError) -> BatchError:
    """Return an error as one that may pass, unless AWS has said no."""
    return error if isinstance(error, BatchRefusedError | BatchUnreachableError) else BatchUnreachableError(str(error))


def _refusal(error: Mapping[str, Any]) -> BatchError:
    code = str(error.get("code", ""))
    words = f"AWS answered to TerminateJobs of {error['job']}: {code}: {error.get('message', '')}"
    return BatchUnreachableError(words) if code in PASSING else BatchRefusedError(words, code=code)
