"""What an executor owes to a task that is cancelled, wherever the cancel meets it."""

from __future__ import annotations

from contextlib import suppress

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.testing._bench import Bench
from covalent_core.testing._matrix import CELLS, Cell

#: Why the tasks are cancelled.
REASON = "the suite says so, für heute"


class Cancelling:
    """The matrix, and what else there is to say of a cancel."""

    @pytest.mark.parametrize("cell", CELLS, ids=str)
    def test_matrix(self, bench: Bench, cell: Cell) -> None:
        bench.stops.take(cell.stop)

        if cell.ended:
            bench.go()

        dispatch_id = bench.work()
        bench.wait_at(cell.stop)

        if cell.begun:
            bench.until(bench.begun)
            assert bench.alive(), "the probe `alive` does not see a task that runs"

        if cell.event == "cancelled":
            before = self._cancel(bench, dispatch_id)
            bench.stops.leave(cell.stop)
        elif cell.event == "killed":
            bench.kill()
            bench.stops.leave(cell.stop)
            bench.go()
            bench.check_completed(bench.end(dispatch_id))
            return
        elif cell.event == "killed then cancelled":
            bench.kill()
            bench.stops.leave(cell.stop)
            before = self._cancel(bench, dispatch_id)
        else:
            bench.stops.take(cell.ending)
            before = self._cancel(bench, dispatch_id)
            bench.stops.leave(cell.stop)
            bench.wait_at(cell.ending)
            bench.kill()
            bench.stops.leave(cell.ending)

        bench.check_cancelled(bench.end(dispatch_id), before)
        assert cell.may_have_begun or not bench.begun()
        assert cell.may_have_begun or not bench.called("cancel")

    def _cancel(self, bench: Bench, dispatch_id: str, grace: float | None = None) -> int:
        """Cancel; return how many calls there were when that had returned."""
        outcome = ct.cancel(dispatch_id, reason=REASON, grace=grace)
        before = len(bench.stops.calls())

        assert outcome
        assert outcome.targets[0].outcome == "stopping"
        return before

    def test_nothing_of_it_is_alive_when_a_node_is_cancelled(self, bench: Bench) -> None:
        bench.stops.take("before-release")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        before = self._cancel(bench, dispatch_id)
        bench.wait_at("before-release")

        assert bench.node(dispatch_id)["status"] == Status.CANCELLED
        assert bench.alive() == []
        bench.stops.leave("before-release")
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_task_that_ignores_sigterm_is_killed(self, bench: Bench) -> None:
        dispatch_id = bench.work(deaf=True)
        bench.until(bench.begun)
        before = self._cancel(bench, dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_task_that_asks_can_clean_up(self, bench: Bench) -> None:
        dispatch_id = bench.dispatch(bench.tasks.careful, str(bench.notes))
        bench.until(bench.begun)
        before = self._cancel(bench, dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)

        assert (bench.notes / "cleaned").exists()
        assert not bench.tells_how_to_end or (bench.notes / "cleaned").read_text() == REASON

    @pytest.mark.parametrize("later", [False, True])
    def test_a_cancel_may_give_less_time(self, bench: Bench, later: bool) -> None:
        if not bench.tells_how_to_end:
            pytest.skip("tells_how_to_end is False: a job has the whole of its grace period whatever a cancel says")

        dispatch_id = bench.work(deaf=True, grace=2 * bench.patience)
        bench.until(bench.begun)
        before = self._cancel(bench, dispatch_id, grace=None if later else 0)

        if later:
            bench.until(lambda: bench.called("cancel"))
            ct.cancel(dispatch_id, grace=0)

        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_cancel_that_is_committed_before_the_end_wins(self, bench: Bench) -> None:
        bench.stops.take("before-end")
        bench.go()
        dispatch_id = bench.work()
        bench.wait_at("before-end")
        before = self._cancel(bench, dispatch_id)
        bench.stops.leave("before-end")
        result = bench.end(dispatch_id)

        bench.check_cancelled(result, before)
        assert result.get_node_result(0)["output"] is None

    def test_an_end_that_is_committed_before_the_cancel_wins(self, bench: Bench) -> None:
        bench.stops.take("after-end")
        bench.go()
        dispatch_id = bench.work()
        bench.wait_at("after-end")

        assert not ct.cancel(dispatch_id)
        bench.stops.leave("after-end")
        bench.check_completed(bench.end(dispatch_id))
        assert not bench.called("cancel")

    def test_it_is_cancelling_until_the_backend_has_confirmed(self, bench: Bench) -> None:
        bench.stops.take("during-cancel")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        before = self._cancel(bench, dispatch_id)
        bench.wait_at("during-cancel")
        bench.until(lambda: not bench.alive())

        assert bench.node(dispatch_id)["status"] == Status.CANCELLING
        bench.stops.leave("during-cancel")
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_cancel_is_given_the_handle_that_provision_gave(self, bench: Bench) -> None:
        dispatch_id = bench.work()
        bench.until(lambda: bench.node(dispatch_id)["job_handle"])
        handle = bench.node(dispatch_id)["job_handle"]
        before = self._cancel(bench, dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)

        assert {call.job_handle for call in bench.called("cancel")} == {handle}

    def test_a_cancel_takes_one_job_and_no_other(self, bench: Bench) -> None:
        other, dispatch_id = bench.work("other"), bench.work("cancelled")
        bench.until(lambda: len(bench.begun()) == 2)
        begun = bench.begun()
        ct.cancel(dispatch_id)

        assert bench.end(dispatch_id).status == Status.CANCELLED
        living = [all(process in bench.alive() for process in processes) for processes in begun]
        assert sorted(living) == [False, True]
        bench.go()
        assert bench.end(other).result == "other"
        bench.check_nothing_left()

    def test_a_cancel_of_a_job_that_has_ended_stops_no_other(self, bench: Bench) -> None:
        bench.stops.take("after-run")
        bench.go()
        ended = bench.work("ended")
        bench.wait_at("after-run")
        (bench.notes / "go").unlink()
        # A backend that gives numbers twice gives the second job that of the first.
        running = bench.work("running")
        bench.until(lambda: len(bench.begun()) == 2)
        assert ct.cancel(ended)
        bench.stops.leave("after-run")

        assert bench.end(ended).status == Status.CANCELLED
        assert len(bench.alive()) >= 3, "the cancel of a job that had ended has stopped another one"
        bench.go()
        assert bench.end(running).result == "running"
        bench.check_nothing_left()

    def test_a_handle_whose_number_belongs_to_another_job_stops_nothing(self, bench: Bench) -> None:
        bench.stops.take("after-run")
        bench.go()
        ended = bench.work("ended")
        bench.wait_at("after-run")
        (bench.notes / "go").unlink()
        running = bench.work("running")
        bench.until(lambda: len(bench.begun()) == 2 and bench.node(running)["job_handle"])
        # Before the kill: to ask for a node brings a dispatcher back, and this test is to be alone.
        new = bench.node(running)["job_handle"]
        bench.kill()
        bench.stops.leave("after-run")
        old = bench.as_seen_by_another_process(ended)
        handle = bench.reused_handle(str(old.job_handle), new)
        metadata = {"task_metadata": old.task_metadata, "job_handle": handle, "location": old.location}
        bench.call("cancel", old, **metadata)

        assert len(bench.alive()) >= 3, "the cancel of a job that had ended has stopped another one"
        bench.go()
        assert [bench.end(dispatch_id).result for dispatch_id in (ended, running)] == ["ended", "running"]
        bench.check_nothing_left()

    def test_a_handle_is_enough_for_another_process_to_end_the_job(self, bench: Bench) -> None:
        dispatch_id = bench.work()
        bench.until(lambda: bench.begun() and bench.called("run"))
        bench.kill()
        job = bench.as_seen_by_another_process(dispatch_id)
        metadata = {"task_metadata": job.task_metadata, "job_handle": job.job_handle, "location": job.location}
        bench.call("cancel", job, **metadata)

        assert bench.alive() == []
        assert bench.end(dispatch_id).status == Status.FAILED
        bench.check_nothing_left()

    def test_a_job_that_is_not_found_after_a_cancel_never_starts(self, bench: Bench) -> None:
        bench.stops.take("before-provision")
        dispatch_id = bench.work()
        bench.wait_at("before-provision")
        bench.kill()
        bench.stops.leave("before-provision")
        job = bench.as_seen_by_another_process(dispatch_id)
        bench.stops.take("before-release")
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.wait_at("before-release")
        assert len(bench.called("find")) == 1

        # The order to start comes late, as that of a dispatcher which has died while it gave it: refuse it, or let the
        # job end before it begins.
        with suppress(Exception):
            bench.start(job)

        bench.stops.leave("before-release")
        bench.check_cancelled(bench.end(dispatch_id), before)
        assert not bench.begun()
