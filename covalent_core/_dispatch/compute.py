"""The compute of one job at its backend: asked for once, found again where the answer was lost, ended for sure."""

from __future__ import annotations

from anyio import current_time, fail_after, move_on_after

from covalent_core._dispatch.attempts import ATTEMPT_SECONDS, Attempts, pause_after, pauses
from covalent_core._dispatch.calls import Calls, PackGivenUp
from covalent_core._dispatch.turns import Shared
from covalent_core._executors.bound import FOUND, RESULTS, TEXT, checked
from covalent_core._model.job import Job, Perhaps, Results
from covalent_core._stops import stop
from covalent_core.errors import BackendUnreachableError, ExecutorPluginError, NotNow, TaskCancelledError

#: How long a backend may take to answer `provision`; after that `find` decides.
PROVISION_SECONDS = 300.0
#: How long a request whose answer was lost may be on its way; after that its ticket is barred.
FIND_SECONDS = 60.0


class Compute:
    """The compute of one job.

    Args:
        asked: Whether a dispatcher before this one may have asked the backend for it.

    Attributes:
        asked: Whether the backend may have something of the job.
        left: The result files that `cancel` gave when the job was ended, if it did.
    """

    def __init__(
        self,
        job: Job,
        *,
        executor: Shared,
        calls: Calls,
        attempts: Attempts,
        asked: bool,
    ) -> None:
        self.asked = asked
        self.left: Results | None = None
        self._job = job
        self._executor = executor
        self._calls = calls
        self._attempts = attempts

    async def provision(self) -> str:
        """Return the job handle. Not interrupted: whoever is asked must be able to say what it has accepted."""

        async def ask() -> str:
            found = await self._search() if self.asked else None
            return found or await self._ask()

        async def ask_in_turn() -> str:
            return await self._executor.turns.ask(self._calls, ask)

        return await self._calls.until_reached("provision", ask_in_turn)

    async def _ask(self) -> str:
        """Ask the backend once; where it does not say whether it has taken the job, find out."""
        executor = await self._calls.begin("provision")
        self.asked = True
        problem: Exception = TimeoutError(f"no answer within {PROVISION_SECONDS:g} s")

        with move_on_after(PROVISION_SECONDS, shield=True):
            try:
                answer = await executor.call("provision", job=self._job, location=self._job.location)
                await stop("after-provision")
                return str(checked(executor, "provision", answer, TEXT))
            except NotNow:
                self.asked = False
                raise
            except (TaskCancelledError, PackGivenUp, ExecutorPluginError):
                raise
            except Exception as error:
                problem = error

        # The backend may have accepted the job and its answer may be lost.
        found = await self._search()

        if found is not None:
            return found

        self.asked = False
        raise problem

    async def end(self) -> None:
        """Return when the executor has confirmed that nothing of the job is alive; try until it has.

        Raises:
            GivenUp: Somebody does not want to wait for that any more.
        """
        if self.asked or self._job.job_handle is not None:
            await self._attempts.make(self._end_once)
            self.asked, self._job.job_handle = False, None

    async def _end_once(self) -> None:
        """Ask the executor to end the job; when this returns, nothing of it is alive."""
        job = self._job
        job._bar = True
        found = job.job_handle or await self._find()

        if isinstance(found, Perhaps):
            raise BackendUnreachableError(found.why)

        job.job_handle = found

        if job.job_handle is not None:
            executor = await self._executor.bound()
            arguments = {"job_handle": job.job_handle, "job": job, "location": job.location}
            await stop("before-cancel")
            left = await executor.call("cancel", task_metadata=job.task_metadata, **arguments)
            self.left = left if isinstance(left, RESULTS) else None

    async def _search(self) -> str | None:
        """Return what the backend knows under our ticket, or None on its word that nothing will come of a request."""
        latest = current_time() + FIND_SECONDS

        for pause in pauses():
            self._job.raise_if_cancel_requested()
            self._job._bar = self._job._bar or current_time() > latest
            found, seconds = await self._look(pause)

            if not isinstance(found, Perhaps):
                self._calls.report_waiting("")
                return found

            self._calls.report_waiting(f"it is not known whether the backend has taken the job: {found.why}")
            await self._attempts.pause(seconds)

        raise AssertionError("the pauses do not end")

    async def _look(self, pause: float) -> tuple[str | Perhaps | None, float]:
        """Return what one call of `find` has given, and how long to wait for the next."""
        try:
            with fail_after(ATTEMPT_SECONDS):
                return await self._find(), pause
        except Exception as error:
            return Perhaps(f"find failed: {type(error).__name__}: {error}"), pause_after(error, pause)

    async def _find(self) -> str | Perhaps | None:
        executor = await self._executor.bound()
        found = await executor.call("find", job=self._job, location=self._job.location)
        answer: str | Perhaps | None = None if found is None else checked(executor, "find", found, FOUND)
        return answer
