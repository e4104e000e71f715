"""What an executor owes to a task whose backend answers late, twice, wrongly or not at all.

The faults are put between the core and the executor, so that any executor can be run against them.
"""

from __future__ import annotations

import time

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.testing._bench import Bench


class Backend:
    """Lost answers, late answers, repeated answers, and a backend that cannot be reached for a while."""

    def test_a_lost_answer_of_provision_is_found_again(self, bench: Bench) -> None:
        bench.stops.fail("provision", "lost")
        bench.go()
        bench.check_completed(bench.end(bench.work()))

        assert len(bench.called("provision")) == 1
        assert len(bench.called("find")) == 1

    def test_a_lost_answer_of_provision_is_found_again_when_find_fails_first(self, bench: Bench) -> None:
        bench.stops.fail("provision", "lost")
        bench.stops.fail("find", "unreachable", "lost")
        bench.go()
        bench.check_completed(bench.end(bench.work()))

        assert len(bench.called("provision")) == 1
        assert len(bench.called("find")) == 3

    def test_a_job_whose_id_was_lost_is_cancelled(self, bench: Bench) -> None:
        bench.stops.fail("provision", "lost")
        bench.stops.take("during-provision")
        dispatch_id = bench.work()
        bench.wait_at("during-provision")
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.stops.leave("during-provision")
        bench.check_cancelled(bench.end(dispatch_id), before)

        assert len(bench.called("find")) >= 1

    def test_a_job_whose_id_was_lost_with_the_dispatcher_is_cancelled(self, bench: Bench) -> None:
        bench.stops.take("after-provision")
        dispatch_id = bench.work()
        bench.wait_at("after-provision")
        bench.until(bench.begun)
        bench.kill()
        bench.stops.leave("after-provision")
        bench.stops.fail("find", "unreachable")
        assert bench.job(dispatch_id).handle is None
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_late_answer_of_provision_is_waited_for_and_then_cancelled(self, bench: Bench) -> None:
        bench.stops.take("during-provision")
        dispatch_id = bench.work()
        bench.wait_at("during-provision")
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        assert bench.node(dispatch_id)["status"] == Status.CANCELLING
        assert not bench.called("cancel")
        bench.stops.leave("during-provision")
        bench.check_cancelled(bench.end(dispatch_id), before)

        assert [call.hook for call in bench.stops.calls()[before:] if call.event == "called"] == ["cancel", "release"]

    @pytest.mark.parametrize("hook", ["pickle", "upload", "run", "fetch", "release"])
    def test_a_step_that_is_taken_twice_gives_the_same(self, bench: Bench, hook: str) -> None:
        bench.stops.fail(hook, "twice")
        bench.go()
        bench.check_completed(bench.end(bench.work("twice")), "twice")

    @pytest.mark.parametrize("hook", ["cancel", "release"])
    def test_an_ending_that_is_made_twice_is_made(self, bench: Bench, hook: str) -> None:
        bench.stops.fail(hook, "twice")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_a_lost_answer_of_cancel_is_asked_for_again(self, bench: Bench) -> None:
        bench.stops.fail("cancel", "lost")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        # The second attempt is about a job that has ended already: "not found" is a confirmation.
        bench.check_cancelled(bench.end(dispatch_id), before)

        assert len(bench.called("cancel")) == 2

    def test_a_lost_answer_of_upload_leaves_no_files(self, bench: Bench) -> None:
        bench.stops.fail("upload", "lost")
        result = bench.end(bench.work())

        assert result.status == Status.FAILED
        assert not bench.begun()
        bench.check_nothing_left()

    @pytest.mark.parametrize("hook", ["run", "fetch"])
    def test_a_job_whose_answer_is_lost_is_ended_and_has_failed(self, bench: Bench, hook: str) -> None:
        bench.stops.fail(hook, "unreachable")

        if hook == "fetch":
            bench.go()

        result = bench.end(bench.work())

        assert result.status == Status.FAILED
        assert f"failed in {hook!r}: ConnectionError" in result.get_node_result(0)["error"]
        bench.check_nothing_left()

    def test_a_backend_that_cannot_be_reached_is_visible_until_the_cancel_is_confirmed(self, bench: Bench) -> None:
        # So many that it is not over while it is looked at.
        bench.stops.fail("cancel", *["unreachable"] * 6)
        dispatch_id = bench.work()
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.until(lambda: bench.cancelling(dispatch_id)["error"])
        result = ct.get_result(dispatch_id)

        assert result.status == Status.CANCELLING
        assert bench.alive() != []
        assert bench.cancelling(dispatch_id)["error"] == "ConnectionError: the backend is unreachable (cancel)"
        assert bench.cancelling(dispatch_id)["since"] < bench.cancelling(dispatch_id)["next"]
        assert "[CANCELLING since 20" in str(result)
        assert "last error: ConnectionError: the backend is unreachable (cancel), next attempt at 20" in str(result)
        bench.stops.fail("cancel")
        ct.cancel(dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)
        assert 2 <= len(bench.called("cancel")) <= 7

    def test_asking_again_makes_an_attempt_now(self, bench: Bench) -> None:
        bench.stops.fail("cancel", "unreachable", "...")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())

        def next_attempt() -> float:
            following = bench.cancelling(dispatch_id).get("next")
            return following.timestamp() if following else 0.0

        # When the next attempt is seconds away, it comes at once if it is asked for.
        bench.until(lambda: next_attempt() > time.time() + 2)
        due = next_attempt()
        bench.stops.fail("cancel")
        again = ct.cancel(dispatch_id)

        assert not again
        assert [target.outcome for target in again.targets] == ["already cancelling"]
        bench.check_cancelled(bench.end(dispatch_id), before)
        assert bench.called("cancel")[-1].time < due - 0.5

    def test_the_attempts_to_cancel_go_on_after_a_crash(self, bench: Bench) -> None:
        bench.stops.fail("cancel", "unreachable", "...")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.until(lambda: bench.cancelling(dispatch_id)["attempts"] >= 2)
        since = bench.cancelling(dispatch_id)["since"]
        bench.kill()
        attempts = len(bench.called("cancel"))
        bench.until(lambda: bench.cancelling(dispatch_id)["attempts"] > attempts)

        assert bench.cancelling(dispatch_id)["since"] == since
        bench.stops.fail("cancel")
        bench.check_cancelled(bench.end(dispatch_id), before)
        assert len({call.pid for call in bench.called("cancel")}) == 2
