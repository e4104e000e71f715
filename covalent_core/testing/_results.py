"""What an executor owes to a task that nobody cancels."""

from __future__ import annotations

import json
import re

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core._executors.installed import create, describe
from covalent_core.testing._bench import Bench
from covalent_core.testing._matrix import STEPS, steps_of_the_hookspecs

#: Larger than what is kept in the database, in memory and in one write to a pipe or a socket.
MANY = 9 * 2**20


class Results:
    """Values, errors and output come back, and the steps are taken in their order."""

    def test_a_value_comes_back_and_nothing_is_left(self, bench: Bench) -> None:
        dispatch_id = bench.work("a value")
        bench.until(bench.begun)
        assert bench.alive(), "the probe `alive` does not see a task that runs"
        assert bench.left() or not bench.has_files, "the probe `left` does not see the files of a job"
        bench.go()
        bench.check_completed(bench.end(dispatch_id), "a value")

    def test_the_steps_of_the_core_are_those_of_the_matrix(self, bench: Bench) -> None:
        bench.go()
        result = bench.end(bench.work())
        called = [call.hook for call in bench.stops.calls() if call.event == "called"]

        bench.check_completed(result)
        assert called == [*STEPS, "release"]
        assert steps_of_the_hookspecs() == list(STEPS)

    def test_run_returns_only_when_the_task_has_ended(self, bench: Bench) -> None:
        bench.stops.take("after-run")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        bench.go()
        bench.wait_at("after-run")

        assert bench.alive() == []
        bench.stops.leave("after-run")
        bench.check_completed(bench.end(dispatch_id))

    def test_nothing_of_a_task_that_has_completed_is_alive_before_its_release(self, bench: Bench) -> None:
        bench.stops.take("before-release")
        bench.go()
        dispatch_id = bench.work()
        bench.wait_at("before-release")

        assert bench.node(dispatch_id)["status"] == Status.COMPLETED
        assert bench.alive() == []
        bench.stops.leave("before-release")
        bench.check_completed(bench.end(dispatch_id))

    def test_an_exception_comes_back_with_its_traceback(self, bench: Bench) -> None:
        result = bench.run(bench.tasks.raise_unlike)
        node = result.get_node_result(0)

        assert result.status == Status.FAILED
        assert isinstance(node["exception"].__cause__, ZeroDivisionError)
        assert "in raise_unlike" in node["error"]
        assert "ZeroDivisionError: seven by nothing" in node["error"]
        assert node["exception"].step == "run"
        assert node["stdout"] == "before the end\n"
        bench.check_nothing_left()

    def test_standard_output_and_error_come_back(self, bench: Bench) -> None:
        bench.go()
        result = bench.end(bench.work("loud"))
        node = result.get_node_result(0)

        assert (node["stdout"], node["stderr"]) == ("out loud\n", "err loud\n")

    def test_output_is_seen_no_earlier_than_it_is_written(self, bench: Bench) -> None:
        dispatch_id = bench.work("loud")
        bench.until(bench.begun)

        def seen() -> tuple[str, str]:
            node = bench.node(dispatch_id)
            return node["stdout"], node["stderr"]

        if bench.reports_output:
            bench.until(lambda: seen() == ("out loud\n", "err loud\n"))

        assert bench.node(dispatch_id)["status"] == Status.RUNNING
        assert seen() in [("", ""), ("out loud\n", "err loud\n")]
        bench.go()
        bench.end(dispatch_id)
        assert seen() == ("out loud\n", "err loud\n")

    def test_much_output_comes_back_to_its_end(self, bench: Bench) -> None:
        result = bench.run(bench.tasks.interpreter)

        assert result.status == Status.COMPLETED, result.error
        assert re.match(r"3\.\d+", result.result)
        assert result.get_node_result(0)["stdout"].endswith("x" * 60_000 + "\n")

    def test_a_large_value_goes_in(self, bench: Bench) -> None:
        assert bench.run(bench.tasks.size, b"a" * MANY, "b" * MANY).result == 2 * MANY
        bench.check_nothing_left()

    def test_a_large_value_comes_out(self, bench: Bench) -> None:
        assert bench.run(bench.tasks.repeat, b"a", MANY).result == b"a" * MANY
        bench.check_nothing_left()

    def test_no_value_is_a_value(self, bench: Bench) -> None:
        result = bench.run(bench.tasks.repeat, [None], 2)

        assert result.result == [None, None]

    def test_a_task_that_leaves_its_interpreter_has_failed(self, bench: Bench) -> None:
        result = bench.run(bench.tasks.leave)
        node = result.get_node_result(0)

        assert result.status == Status.FAILED
        assert node["exception"].step == "run"
        assert "7" in node["error"]
        bench.check_nothing_left()

    def test_a_task_knows_who_it_is(self, bench: Bench) -> None:
        result = bench.run(bench.tasks.identify)

        assert result.result == (result.dispatch_id, 0, 0)

    def test_results_of_jobs_at_the_same_time_are_not_mixed_up(self, bench: Bench) -> None:
        tasks = bench.tasks

        @ct.lattice(executor=bench.executor)
        def workflow(folder: str) -> object:
            work, join = ct.electron(tasks.work), ct.electron(tasks.join)
            return join(*(work(folder, f"number {number}") for number in range(3)))

        bench.go()
        result = bench.end(ct.dispatch(workflow)(str(bench.notes)))

        assert result.result == ("number 0", "number 1", "number 2")
        assert [result.get_node_result(node_id)["stdout"] for name, node_id in result.nodes() if "work" in name] == [
            f"out number {number}\n" for number in range(3)
        ]
        assert len({call.ticket for call in bench.called("provision")}) == 4
        bench.check_nothing_left()

    def test_what_is_released_is_one_jobs_alone(self, bench: Bench) -> None:
        other = bench.work("other")
        bench.until(bench.begun)
        assert bench.run(bench.tasks.size, "abc").result == 3
        assert len(bench.alive()) > 0
        bench.go()
        bench.check_completed(bench.end(other), "other")

    def test_a_job_that_runs_keeps_no_other_from_its_end(self, bench: Bench) -> None:
        first = bench.work("first")
        bench.until(lambda: bench.begun() and bench.called("run"))
        second = bench.dispatch(bench.tasks.size, "abc")
        bench.until(lambda: bench.node(second)["status"].terminal)

        assert bench.node(second)["output"] == 3
        assert bench.node(first)["status"] == Status.RUNNING
        bench.go()
        assert bench.end(first).result == "first"

    def test_the_handle_is_stored_before_anything_follows_it(self, bench: Bench) -> None:
        bench.stops.take("before-run")
        dispatch_id = bench.work()
        bench.wait_at("before-run")
        (answer,) = [
            call.answer for call in bench.stops.calls() if (call.hook, call.event) == ("provision", "returned")
        ]

        assert bench.node(dispatch_id)["job_handle"] == answer
        assert bench.node(dispatch_id)["status"] == Status.RUNNING
        bench.go()
        bench.stops.leave("before-run")
        bench.check_completed(bench.end(dispatch_id))
        assert [call.job_handle for call in bench.called("run")] == [answer]

    def test_the_ticket_is_stored_first_and_is_short(self, bench: Bench) -> None:
        bench.stops.take("before-provision")
        dispatch_id = bench.work()
        bench.wait_at("before-provision")
        ticket = bench.job(dispatch_id).ticket

        assert bench.tickets() == [ticket]
        assert re.fullmatch(r"[A-Za-z0-9-]{1,50}", ticket)
        bench.go()
        bench.stops.leave("before-provision")
        bench.check_completed(bench.end(dispatch_id))

    def test_the_backend_knows_the_ticket(self, bench: Bench) -> None:
        dispatch_ids = [bench.work(name) for name in ("one", "two")]
        bench.until(lambda: len(bench.begun()) == len(bench.called("run")) == 2)
        bench.kill()

        for dispatch_id in dispatch_ids:
            job = bench.as_seen_by_another_process(dispatch_id)
            found = bench.call("find", job, location=job.location)
            assert found == job.job_handle

        bench.go()
        assert [bench.end(dispatch_id).result for dispatch_id in dispatch_ids] == ["one", "two"]
        bench.check_nothing_left()

    def test_the_backend_knows_no_ticket_that_was_never_provisioned(self, bench: Bench) -> None:
        bench.stops.take("before-provision")
        dispatch_id = bench.work()
        bench.wait_at("before-provision")
        bench.kill()
        bench.stops.leave("before-provision")
        job = bench.as_seen_by_another_process(dispatch_id)

        assert bench.call("find", job, location=job.location) is None
        bench.go()
        bench.check_completed(bench.end(dispatch_id))

    def test_the_store_brings_the_executor_back_as_it_was(self, bench: Bench) -> None:
        spec = describe(bench.executor)

        assert describe(create(spec)) == spec
        assert json.loads(spec.options).keys() <= vars(bench.executor).keys()

    def test_another_dispatcher_takes_up_a_job_that_runs(self, bench: Bench) -> None:
        dispatch_id = bench.work()
        bench.until(bench.begun)
        bench.until(lambda: bench.called("run"))
        bench.kill()
        assert len(bench.alive()) > 0
        assert not ct.get_result(dispatch_id).status.terminal
        bench.until(lambda: len(bench.called("run")) == 2)
        first, second = bench.called("run")

        assert first.pid != second.pid
        assert first.job_handle == second.job_handle
        bench.go()
        bench.check_completed(bench.end(dispatch_id))

    def test_a_job_that_ends_while_no_dispatcher_lives_keeps_its_result(self, bench: Bench) -> None:
        dispatch_id = bench.work()
        bench.until(bench.begun)
        bench.kill()
        bench.go()
        bench.until(bench.ended)
        bench.check_completed(bench.end(dispatch_id))

    @pytest.mark.parametrize("hook", ["pickle", "upload", "provision", "fetch", "release"])
    def test_a_step_that_fails_names_itself_and_leaves_nothing(self, bench: Bench, hook: str) -> None:
        bench.stops.fail(hook, "unreachable")
        bench.go()
        result = bench.end(bench.work())

        if hook == "release":
            # The one that fails when all is done: it is tried again.
            bench.check_completed(result)
            assert len(bench.called("release")) == 2
            return

        told = f"failed in {hook!r}: ConnectionError: the backend is unreachable ({hook})"
        assert result.status == Status.FAILED
        assert told in result.get_node_result(0)["error"]
        bench.check_nothing_left()
