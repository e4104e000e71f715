"""Executors that each do one thing wrong, and the test of the suite that catches it.

They are all one of those written by hand but for what is written here.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from anyio import sleep, sleep_forever
from by_hand import (
    HandmadeExecutor,
    HandmadePacksExecutor,
    HandmadeTellingExecutor,
    handle_of,
    is_alive,
    over,
    process_id,
    results_of,
    runners_in,
)

from covalent_core import Job, Perhaps, hookimpl
from covalent_core._executors.bundle import pack
from covalent_core._runner.processes import children


@dataclass(frozen=True)
class Fault:
    """A misbehaving executor, which test of the suite catches it, and what that test says then."""

    executor: type
    test: str
    words: str

    @property
    def name(self) -> str:
        return self.executor.__name__

    @property
    def flawless(self) -> type:
        """The same executor without the fault."""
        return self.executor.__bases__[0]

    @property
    def description(self) -> str:
        return str(self.executor.__doc__)


FAULTS: list[Fault] = []


def caught_by(test: str, words: str) -> Callable[[type], type]:
    def add(executor: type) -> type:
        FAULTS.append(Fault(executor, test, words))
        return executor

    return add


# --- cancelling ------------------------------------------------------------------------------------------------------


@caught_by("test_matrix[cancelled-during-run]", "alive after the end")
class SwallowsAFailedCancel(HandmadeExecutor):
    """Swallows the error of a cancel that did not work."""

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        with suppress(ConnectionError):
            raise ConnectionError("the backend is unreachable")


@caught_by("test_matrix[cancelled-during-run]", "alive after the end")
class KillsOnlyTheParent(HandmadeExecutor):
    """Kills the processes that watch the task, and none that this has started."""

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        guard = process_id(job_handle)

        with suppress(ProcessLookupError):
            # Stopped, it does not see that what it guards is killed.
            os.kill(guard, signal.SIGSTOP)

            for pid in [*children(guard), guard]:
                os.kill(pid, signal.SIGKILL)

        while is_alive(job_handle):
            await sleep(0.01)


@caught_by("test_a_task_that_ignores_sigterm_is_killed", "alive after the end")
class SaysGoneTooEarly(HandmadeExecutor):
    """Gives the order to end, and says that the job has ended."""

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(process_id(job_handle), signal.SIGTERM)


@caught_by("test_matrix[cancelled-during-run]", "is CANCELLING after")
class HangsInCancel(HandmadeExecutor):
    """Never returns from a cancel."""

    @hookimpl
    async def cancel(self) -> None:
        await sleep_forever()


@caught_by("test_matrix[cancelled-during-run]", "the task ran 2 times")
class StartsAgainAfterACancel(HandmadeExecutor):
    """Puts a cancelled job back into the queue."""

    @hookimpl
    async def cancel(self, job_handle: str, location: str) -> None:
        await HandmadeExecutor.cancel(self, job_handle)
        shutil.rmtree(Path(location, "results"))
        HandmadeExecutor.provision(self, location)
        await until_begun(self.folder, times=2)


@caught_by("test_a_cancel_takes_one_job_and_no_other", "[False, False] == [False, True]")
class KillsAnotherJob(HandmadeExecutor):
    """Cancels all jobs of its user."""

    @hookimpl
    async def cancel(self) -> None:
        for folder in Path(self.folder).iterdir():
            for handle in runners_in(str(folder)):
                await HandmadeExecutor.cancel(self, handle)


@caught_by("test_a_lost_answer_of_cancel_is_asked_for_again", "is CANCELLING after")
class ConfirmsNothingThatIsGone(HandmadeExecutor):
    """Raises if the job that is to be cancelled has ended already."""

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        if not is_alive(job_handle):
            raise LookupError("no such job")

        await HandmadeExecutor.cancel(self, job_handle)


@caught_by("test_a_handle_whose_number_belongs_to_another_job_stops_nothing", "has stopped another one")
class TrustsTheNumber(HandmadeExecutor):
    """Takes a process id for the same process for ever."""

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        with suppress(OSError):
            await HandmadeExecutor.cancel(self, handle_of(process_id(job_handle)))


@caught_by("test_a_task_that_ignores_sigterm_is_killed", "is CANCELLING after")
class AsksOnlyPolitely(HandmadeExecutor):
    """Sends SIGTERM to the task, and waits for it to follow."""

    @hookimpl
    async def cancel(self, job_handle: str, location: str) -> None:
        guard = process_id(job_handle)

        for handle in runners_in(location):
            if process_id(handle) not in (guard, *children(guard)):
                os.kill(process_id(handle), signal.SIGTERM)

        while is_alive(job_handle):
            await sleep(0.01)


@caught_by("test_a_task_that_asks_can_clean_up", "cleaned")
class KillsWithoutGrace(HandmadeExecutor):
    """Kills all processes of a job at once."""

    @hookimpl
    async def cancel(self, location: str) -> None:
        while handles := list(runners_in(location)):
            # One that outlives another by a moment would send the task a SIGTERM.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for handle in handles:
                    with suppress(ProcessLookupError):
                        os.kill(process_id(handle), number)


@caught_by("test_a_task_that_asks_can_clean_up", "'Cancelled by user' == 'the suite says so")
class KeepsTheReason(HandmadeTellingExecutor):
    """Does not tell a job why it is ended."""

    def tell(self, job: Job, location: str) -> None:
        pass


@caught_by("test_a_cancel_may_give_less_time[True]", "is CANCELLING after")
class GivesAllTheTime(HandmadeTellingExecutor):
    """Gives a job the whole of its grace period whatever the cancel says."""

    def tell(self, job: Job, location: str) -> None:
        super().tell(replace(job, _cancel_grace=job.grace), location)


@caught_by("test_nothing_of_it_is_alive_when_a_node_is_cancelled", "assert bench.alive() == []")
class EndsInRelease(HandmadeExecutor):
    """Confirms a cancel at once and ends the job when it is released."""

    @hookimpl
    async def cancel(self) -> None:
        return None

    @hookimpl
    async def release(self, job: Job) -> None:
        if job.job_handle is None and (handle := HandmadeExecutor.find(self, job, str(self._folder(job)))):
            await HandmadeExecutor.cancel(self, handle)

        HandmadeExecutor.release(self, job)


@caught_by("test_a_handle_is_enough_for_another_process_to_end_the_job", "assert bench.alive() == []")
@dataclass
class CancelsOnlyItsOwnJobs(HandmadeExecutor):
    """Can end only what this very object has started."""

    def __post_init__(self) -> None:
        self._started: set[str] = set()

    @hookimpl
    def provision(self, location: str) -> str:
        handle = str(HandmadeExecutor.provision(self, location))
        self._started.add(handle)
        return handle

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        if job_handle in self._started:
            await HandmadeExecutor.cancel(self, job_handle)


# --- starting --------------------------------------------------------------------------------------------------------


@caught_by("test_a_value_comes_back_and_nothing_is_left", "the task ran 2 times")
class SubmitsTwice(HandmadeExecutor):
    """Asks the backend twice for compute."""

    @hookimpl
    def provision(self, location: str) -> str:
        second = Path(location, "second")
        second.mkdir()
        shutil.copy(Path(location, "bundle.pyz"), second)
        subprocess.Popen([sys.executable, "bundle.pyz"], cwd=second, start_new_session=True).wait()
        return str(HandmadeExecutor.provision(self, location))


@caught_by("test_matrix[cancelled-after-upload]", "assert (False or not [[")
class StartsInUpload(HandmadeExecutor):
    """Starts the task when its files are there."""

    @hookimpl
    async def upload(self, job: Job, payload: bytes) -> str:
        location = str(HandmadeExecutor.upload(self, job, payload))
        HandmadeExecutor.provision(self, location)
        await until_begun(self.folder)
        return location

    @hookimpl
    async def provision(self, job: Job, location: str) -> str | None:
        return HandmadeExecutor.find(self, job, location)

    @hookimpl
    async def release(self, job: Job) -> None:
        for handle in runners_in(str(self._folder(job))):
            await HandmadeExecutor.cancel(self, handle)

        HandmadeExecutor.release(self, job)


@caught_by("test_the_steps_of_the_core_are_those_of_the_matrix", "GivesNoHandle.provision returned None")
class GivesNoHandle(HandmadeExecutor):
    """Returns None where the job handle should be."""

    @hookimpl
    def provision(self, location: str) -> None:
        HandmadeExecutor.provision(self, location)

    @hookimpl
    def find(self) -> None:
        return None


@caught_by("test_a_lost_answer_of_provision_is_found_again", "failed in 'provision'")
class ForgetsTheHandle(HandmadeExecutor):
    """Does not know what it has started once the answer is lost."""

    @hookimpl
    def find(self) -> None:
        return None


@caught_by("test_the_backend_knows_the_ticket", "assert found == job.job_handle")
class FindsTheWrongJob(HandmadeExecutor):
    """Finds the newest job, whatever ticket it is asked for."""

    @hookimpl
    def find(self) -> str | None:
        folders = sorted(Path(self.folder).glob("ct-*"), key=lambda folder: folder.stat().st_ctime)
        return next(runners_in(str(folders[-1])), None)


@caught_by("test_the_backend_knows_no_ticket_that_was_never_provisioned", "is None")
class FindsWhatIsNotThere(HandmadeExecutor):
    """Takes the ticket for a job handle."""

    @hookimpl
    def find(self, job: Job) -> str:
        return job.ticket


@caught_by("test_a_job_that_is_not_found_after_a_cancel_never_starts", "alive after the end")
class StartsWhatWasNotFound(HandmadeExecutor):
    """Lets a job start that was not found when it was cancelled."""

    @hookimpl
    def find(self, location: str) -> str | None:
        return next(runners_in(location), None)


@caught_by("test_a_job_that_is_not_found_after_a_cancel_never_starts", "find says: never sure")
class IsNeverSure(HandmadeExecutor):
    """Says of a job that it cannot find that it may still come, also when its ticket is barred."""

    @hookimpl
    def find(self, job: Job, location: str) -> str | Perhaps:
        return HandmadeExecutor.find(self, job, location) or Perhaps("find says: never sure")


@caught_by("test_another_dispatcher_takes_up_a_job_that_runs", "KeyError")
@dataclass
class KeepsStateInMemory(HandmadeExecutor):
    """Gives handles that only this very object understands."""

    def __post_init__(self) -> None:
        self._jobs: dict[str, str] = {}

    @hookimpl
    def provision(self, location: str) -> str:
        self._jobs["1"] = str(HandmadeExecutor.provision(self, location))
        return "1"

    @hookimpl
    async def run(self, job_handle: str) -> None:
        await HandmadeExecutor.run(self, self._jobs[job_handle])

    @hookimpl
    async def cancel(self, job: Job, location: str) -> None:
        for handle in runners_in(location):
            await HandmadeExecutor.cancel(self, handle)


@caught_by("test_matrix[killed-during-run]", "stopped by SIGTERM")
class DiesWithItsDispatcher(HandmadeExecutor):
    """Starts jobs that end when the dispatcher does."""

    @hookimpl
    async def provision(self, location: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "bundle.pyz"], cwd=location, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        )
        return handle_of(process.pid)


@caught_by("test_a_value_comes_back_and_nothing_is_left", "alive after the end")
class LeavesAMonitor(HandmadeExecutor):
    """Starts a second process that looks after the job, and forgets it."""

    @hookimpl
    def provision(self, location: str) -> str:
        subprocess.Popen(["sh", "-c", "sleep 60; : watch", location], start_new_session=True)
        return str(HandmadeExecutor.provision(self, location))


class SlowExecutor(HandmadeExecutor):
    """Takes its time to start a job, and to say that it has ended. Not a fault."""

    @hookimpl
    def provision(self, location: str) -> str:
        command = ["sh", "-c", f"sleep 0.5; exec {sys.executable} bundle.pyz"]
        return handle_of(subprocess.Popen(command, cwd=location, start_new_session=True).pid)

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        await HandmadeExecutor.cancel(self, job_handle)
        await sleep(0.5)


# --- silence ---------------------------------------------------------------------------------------------------------


@caught_by("test_each_hook_is_called_again_when_its_backend_is_back", "FAILED")
class BarsWhatMayStart(HandmadeExecutor):
    """Bars the ticket of a job whenever it is asked for it."""

    @hookimpl
    def find(self, job: Job, location: str) -> str | None:
        if found := HandmadeExecutor.find(self, job, location):
            return str(found)

        bar(self._folder(job), job)
        return None


@caught_by("test_a_cancel_is_not_confirmed_while_the_backend_cannot_say_what_it_has", "alive after the end")
class BarsWithoutLooking(HandmadeExecutor):
    """Bars the ticket of a job, and takes that for the word that there is none."""

    @hookimpl
    def find(self, job: Job, location: str) -> str | None:
        found: str | None = HandmadeExecutor.find(self, job, location)
        return None if job.cancel_requested else found


@caught_by("test_a_job_that_cannot_be_reconnected_to_goes_on_and_can_be_cancelled", "is CANCELLING after")
@dataclass
class CancelsOnlyWhatItWatches(HandmadeExecutor):
    """Can end only the jobs that this very object waits for."""

    def __post_init__(self) -> None:
        self._watched: set[str] = set()

    @hookimpl
    async def run(self, job_handle: str) -> None:
        self._watched.add(job_handle)
        await HandmadeExecutor.run(self, job_handle)

    @hookimpl
    async def cancel(self, job_handle: str) -> None:
        if job_handle not in self._watched:
            raise LookupError("not watched")

        await HandmadeExecutor.cancel(self, job_handle)


@caught_by("test_an_order_that_is_carried_out_after_the_release_starts_nothing[removed]", "began after its release")
class UploadsAgain(HandmadeExecutor):
    """Puts the files of a job back where it starts it."""

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        Path(self.folder, "copy").write_bytes(payload)
        return str(HandmadeExecutor.upload(self, job, payload))

    @hookimpl
    def provision(self, job: Job, location: str) -> str:
        HandmadeExecutor.upload(self, job, Path(self.folder, "copy").read_bytes())
        return str(HandmadeExecutor.provision(self, location))


class KeepingExecutor(HandmadeExecutor):
    """Keeps the files of its jobs, and bars their tickets. Not a fault: the one below begins with it."""

    @hookimpl
    def release(self, job: Job) -> None:
        bar(self._folder(job), job)


@caught_by("test_an_order_that_is_carried_out_after_the_release_starts_nothing[kept]", "began after its release")
class StartsWhatIsKept(KeepingExecutor):
    """Lets a job start after its release, since its files are still there."""

    @hookimpl
    def release(self) -> None:
        return None


class ListingExecutor(HandmadeExecutor):
    """Asks a list of jobs by name, and the job itself where that does not name it. Not a fault either.

    The files ``hidden``, ``broken`` and ``renamed`` in its folder are what can go wrong with the list.
    """

    def listed(self, job: Job) -> bool:
        """Return whether the list has the job."""
        if Path(self.folder, "broken").exists():
            raise OSError("munge: a word that nobody knows")

        return bool(list(runners_in(str(self._folder(job))))) and not Path(self.folder, "hidden").exists()

    def name(self, job: Job) -> str:
        """Return the name under which the list has the job."""
        return "another" if Path(self.folder, "renamed").exists() else job.ticket

    def is_over(self, job: Job, job_handle: str) -> bool:
        """Return whether the job has ended."""
        return not is_alive(job_handle)

    @hookimpl
    async def run(self, job: Job, job_handle: str) -> None:
        while not self.is_over(job, job_handle):
            await sleep(0.05)


@caught_by("test_a_job_that_is_hard_to_see_is_not_taken_for_one_that_has_ended[hide_from_listing]", "did not last")
class BelievesTheList(ListingExecutor):
    """Takes a job that a list leaves out for one that has ended."""

    def is_over(self, job: Job, job_handle: str) -> bool:
        with suppress(OSError):
            return not self.listed(job)

        return not is_alive(job_handle)


@caught_by("test_a_job_that_is_hard_to_see_is_not_taken_for_one_that_has_ended[break_status]", "did not last")
class BelievesAnyComplaint(ListingExecutor):
    """Takes a question that fails for the word that the job is gone."""

    def is_over(self, job: Job, job_handle: str) -> bool:
        try:
            self.listed(job)
        except OSError:
            return True

        return not is_alive(job_handle)


@caught_by("test_a_job_that_is_hard_to_see_is_not_taken_for_one_that_has_ended[rename]", "alive after the end")
class CancelsByName(ListingExecutor):
    """Ends the job that bears the name of the ticket, and takes none for the proof that it has ended."""

    @hookimpl
    async def cancel(self, job: Job, job_handle: str) -> None:
        if self.name(job) == job.ticket:
            await HandmadeExecutor.cancel(self, job_handle)


class PatientExecutor(ListingExecutor):
    """Waits for results that its file system shows late. Not a fault either."""

    @hookimpl
    async def fetch(self, location: str) -> Path:
        while not (results := Path(location, "results")).exists():
            await sleep(0.02)

        return results


@caught_by("test_results_that_appear_late_are_waited_for", "did not last")
class TakesWhatIsThere(PatientExecutor):
    """Fetches what it sees when the job has ended, and no more."""

    @hookimpl
    async def fetch(self, location: str) -> Path:
        Path(location, "results").mkdir(exist_ok=True)
        return Path(location, "results")


@caught_by("test_a_job_that_finds_the_disk_full_at_its_end_has_an_end", "RUNNING")
class WaitsForAFile(ListingExecutor):
    """Takes a job for one that has ended when its last file is there, and not before."""

    def is_over(self, job: Job, job_handle: str) -> bool:
        return os.path.lexists(self._folder(job) / "results" / f"{job.ticket}.ended")


# --- running and fetching --------------------------------------------------------------------------------------------


@caught_by("test_run_returns_only_when_the_task_has_ended", "assert [")
class ReturnsBeforeTheEnd(HandmadeExecutor):
    """Takes a job that runs for one that has ended."""

    @hookimpl
    async def run(self) -> None:
        return None


@caught_by("test_a_job_that_runs_keeps_no_other_from_its_end", "BlocksTheDispatcher.run has blocked the dispatcher")
class BlocksTheDispatcher(HandmadeExecutor):
    """Waits for its job in a way that lets nothing else go on."""

    @hookimpl
    async def run(self, job: Job, job_handle: str) -> None:
        while is_alive(job_handle):
            time.sleep(0.05)


@caught_by("test_another_dispatcher_takes_up_a_job_that_runs", "ChildProcessError")
class WaitsOnlyForItsChildren(HandmadeExecutor):
    """Cannot wait for a job that another process has started."""

    @hookimpl
    def run(self, job_handle: str) -> None:
        os.waitpid(process_id(job_handle), 0)


@caught_by("test_standard_output_and_error_come_back", "('', '') == ('out loud")
class LosesTheOutput(HandmadeExecutor):
    """Does not bring back what a task has printed."""

    @hookimpl
    def fetch(self, location: str) -> Path:
        return edited(location, lambda header, content: ({**header, "stdout": "", "stderr": ""}, content))


@caught_by("test_an_exception_comes_back_with_its_traceback", "isinstance(")
class LosesTheException(HandmadeExecutor):
    """Brings back that a task failed, and not why."""

    @hookimpl
    def fetch(self, location: str) -> Path:
        return edited(location, lambda header, content: (header, b"" if header["status"] == "FAILED" else content))


@caught_by("test_results_of_jobs_at_the_same_time_are_not_mixed_up", "assert 'number")
@dataclass
class MixesUpResults(HandmadeExecutor):
    """Brings back the result of the first job for every other."""

    def __post_init__(self) -> None:
        self._first: bytes | None = None

    @hookimpl
    async def fetch(self, location: str) -> Path:
        (file,) = Path(location, "results").glob("*.outcome")
        self._first = self._first or file.read_bytes()
        file.write_bytes(self._first)
        return file.parent


@caught_by("test_a_large_value_goes_in", "assert None ==")
class CutsWhatIsLarge(HandmadeExecutor):
    """Uploads no more than eight megabytes."""

    @hookimpl
    def upload(self, job: Job, payload: bytes) -> str:
        return str(HandmadeExecutor.upload(self, job, payload[: 8 * 2**20]))


@caught_by("test_a_large_value_comes_out", "assert None ==")
class LeavesLargeValuesBehind(HandmadeExecutor):
    """Fetches no large files."""

    @hookimpl
    def fetch(self, location: str) -> Path:
        for file in Path(location, "results").glob("*.value"):
            file.unlink()

        return Path(location, "results")


@caught_by("test_a_step_that_is_taken_twice_gives_the_same[fetch]", "No such file")
class FetchesOnlyOnce(HandmadeExecutor):
    """Moves the results away when it fetches them."""

    @hookimpl
    def fetch(self, location: str) -> Path:
        return Path(shutil.move(Path(location, "results"), Path(location, "fetched")))


# --- files -----------------------------------------------------------------------------------------------------------


@caught_by("test_a_value_comes_back_and_nothing_is_left", "files after the end")
class LeavesFiles(HandmadeExecutor):
    """Removes nothing."""

    @hookimpl
    def release(self) -> None:
        return None


@caught_by("test_a_value_comes_back_and_nothing_is_left", "release failed: PermissionError")
class RaisesInRelease(HandmadeExecutor):
    """Fails after it has removed everything."""

    @hookimpl
    def release(self, job: Job) -> None:
        HandmadeExecutor.release(self, job)
        raise PermissionError("not yours")


@caught_by("test_what_is_released_is_one_jobs_alone", "FAILED")
class ReleasesAllJobs(HandmadeExecutor):
    """Removes the files of all jobs when one has ended."""

    @hookimpl
    def release(self) -> None:
        for folder in Path(self.folder).glob("ct-*"):
            shutil.rmtree(folder)


@caught_by("test_a_lost_answer_of_upload_leaves_no_files", "files after the end")
class LeavesHalfAnUpload(HandmadeExecutor):
    """Removes nothing where it was not told a location."""

    @hookimpl
    def release(self, job: Job, location: str | None) -> None:
        if location is not None:
            HandmadeExecutor.release(self, job)


@caught_by("test_matrix[cancelled-during-run]", "files after the end")
class RemovesOnlyWhatSucceeded(HandmadeExecutor):
    """Leaves the files of jobs that did not complete, for whoever wants to look at them."""

    @hookimpl
    def release(self, job: Job) -> None:
        if b'"COMPLETED"' in b"".join(file.read_bytes() for file in self._folder(job).glob("results/*.outcome")):
            HandmadeExecutor.release(self, job)


@caught_by("test_results_of_jobs_at_the_same_time_are_not_mixed_up", "assert")
class IgnoresTheTicket(HandmadeExecutor):
    """Has one folder for all jobs."""

    def _folder(self, job: Job) -> Path:
        return Path(self.folder) / "ct-job"


@caught_by("test_the_store_brings_the_executor_back_as_it_was", "assert ExecutorSpec(")
@dataclass
class ChangesItsOptions(HandmadeExecutor):
    """Is not the same when it is made anew from its own options."""

    def __post_init__(self) -> None:
        self.folder += "/jobs"


# --- packs -----------------------------------------------------------------------------------------------------------


@caught_by("test_pack_matrix[cancelled-during-run-running]", "stopped by SIGTERM")
class CancelsThePack(HandmadePacksExecutor):
    """Ends the whole job where one member is to be cancelled."""

    @hookimpl
    async def cancel_members(self, job_handle: str) -> None:
        await HandmadeExecutor.cancel(self, job_handle)


@caught_by("test_a_member_that_ignores_sigterm_is_killed", "alive while second is CANCELLED")
class SaysStoppedTooEarly(HandmadePacksExecutor):
    """Gives the order to end a member, and says that it has ended."""

    @hookimpl
    async def cancel_members(self, job: Job, location: str, node_ids: list[int]) -> None:
        Path(location, "results", f"{job.ticket}.cancel").write_text(json.dumps(node_ids))


@caught_by("test_pack_matrix[cancelled-during-run-waiting]", "AssertionError")
class CancelsAnotherMember(HandmadePacksExecutor):
    """Counts members from one."""

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> None:
        before = [job.node_ids[job.node_ids.index(node_id) - 1] for node_id in node_ids]
        await HandmadePacksExecutor.cancel_members(self, job, location, job_handle, before)


@caught_by("test_pack_matrix[cancelled-during-run-over]", "did not come about")
class ConfirmsNoMemberThatIsOver(HandmadePacksExecutor):
    """Raises if a member that is to be cancelled has ended already."""

    @hookimpl
    async def run(self, job_handle: str) -> None:
        await HandmadeExecutor.run(self, job_handle)

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> None:
        if over(job, location, node_ids):
            raise LookupError("no such member")

        await HandmadePacksExecutor.cancel_members(self, job, location, job_handle, node_ids)


@caught_by("test_pack_matrix[killed-then-cancelled-during-run-running]", "did not come about")
@dataclass
class CancelsOnlyItsOwnMembers(HandmadePacksExecutor):
    """Can end members only of what this very object has started."""

    def __post_init__(self) -> None:
        self._started: set[str] = set()

    @hookimpl
    def provision(self, location: str) -> str:
        handle = str(HandmadeExecutor.provision(self, location))
        self._started.add(handle)
        return handle

    @hookimpl
    async def cancel_members(self, job: Job, location: str, job_handle: str, node_ids: list[int]) -> None:
        if job_handle not in self._started:
            raise LookupError("not mine")

        await HandmadePacksExecutor.cancel_members(self, job, location, job_handle, node_ids)


@caught_by("test_a_pack_is_one_job_with_one_handle", "third")
class MixesUpMembers(HandmadePacksExecutor):
    """Brings back the outcome of the last member as that of the first."""

    @hookimpl
    async def run(self, job_handle: str) -> None:
        await HandmadeExecutor.run(self, job_handle)

    @hookimpl
    def fetch(self, job: Job, location: str) -> dict[str, Path]:
        files = [results_of(job, location, node_id) for node_id in job.node_ids]
        names = [file.name for group in files for file in group]
        return dict(zip(names, [file for group in files[::-1] for file in group], strict=True))


@caught_by("test_a_pack_is_one_job_with_one_handle", "without an outcome")
class ForgetsAMember(HandmadePacksExecutor):
    """Brings back the outcomes of all members but the last."""

    @hookimpl
    async def run(self, job_handle: str) -> None:
        await HandmadeExecutor.run(self, job_handle)

    @hookimpl
    def fetch(self, job: Job, location: str) -> Path:
        for file in results_of(job, location, job.node_ids[-1]) if len(job.tasks) > 1 else []:
            file.unlink()

        return Path(location, "results")


@caught_by("test_an_end_of_a_member_is_seen_no_earlier_than_it_comes", "RUNNING")
class ReportsTooEarly(HandmadePacksExecutor):
    """Takes a member for one that has ended when another one has."""

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        while is_alive(job_handle):
            if node_ids := over(job, location, job.node_ids):
                (file,) = results_of(job, location, node_ids[0])
                job.report_results({f"{job.ticket}.{node_id}.outcome": file.read_bytes() for node_id in job.node_ids})

            await sleep(0.05)


@caught_by("test_an_end_of_a_member_is_seen_no_earlier_than_it_comes", "did not come about")
class ReportsAtTheEnd(HandmadePacksExecutor):
    """Promises to tell when a member has ended, and tells when all have."""

    @hookimpl
    async def run(self, job_handle: str) -> None:
        await HandmadeExecutor.run(self, job_handle)


@caught_by("test_a_pack_is_one_job_with_one_handle", "without an outcome")
class EndsWithTheFirst(HandmadePacksExecutor):
    """Takes a pack for one that has ended when its first member has."""

    @hookimpl
    async def run(self, job: Job, location: str, job_handle: str) -> None:
        while is_alive(job_handle) and not over(job, location, job.node_ids[:1]):
            await sleep(0.001)


@caught_by("test_a_member_that_takes_too_long_is_ended_alone", "is RUNNING after")
class KnowsNoTimeouts(HandmadePacksExecutor):
    """Sends a payload in which no task has a timeout."""

    @hookimpl
    def pickle(self, job: Job) -> bytes | memoryview:
        return pack(replace(job, tasks=tuple(replace(task, timeout=None) for task in job.tasks)))


def bar(folder: Path, job: Job) -> None:
    """Let no runner of a job begin any more: it finds its name taken."""
    link = folder / "results" / f"{job.ticket}.process"
    link.parent.mkdir(parents=True, exist_ok=True)

    with suppress(FileExistsError):
        link.symlink_to("nobody")


async def until_begun(folder: str, times: int = 1) -> None:
    """Return when the tasks of the suite have begun so often."""
    while len(list(Path(folder).glob("notes/begun-*"))) < times:
        await sleep(0.01)


def edited(location: str, edit: Callable[[dict[str, object], bytes], tuple[dict[str, object], bytes]]) -> Path:
    """Change the outcomes in the results of a job."""
    for file in Path(location, "results").glob("*.outcome"):
        header, _, content = file.read_bytes().partition(b"\n")
        changed, left = edit(json.loads(header), content)
        file.write_bytes(json.dumps(changed).encode() + b"\n" + left)

    return Path(location, "results")
