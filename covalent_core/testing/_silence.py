"""What an executor owes to a job of which nothing is heard: to find it again, and to end it.

Faults that only the backend itself can have are brought about by the author of the executor, where that is possible.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.testing._bench import Bench

F = TypeVar("F", bound=Callable[..., Any])

#: Methods in which an author says how a living job is made hard to see.
HIDINGS = ("hide_from_listing", "break_status", "rename")


def _not_overridden(method: F) -> F:
    method.__dict__["overridden"] = False
    return method


def _skip_unless_overridden(method: Callable[..., Any]) -> None:
    if not getattr(method, "overridden", True):
        pytest.skip(f"override {method.__name__}, if your backend can do this: {str(method.__doc__).splitlines()[0]}")


class Silence:
    """Nothing is concluded from silence, and what was believed lost may still come.

    Attributes:
        look_seconds: Within how many seconds `run` looks at its job at least twice.
        late_orders: Whether an order to start a job can outlive the call of `provision` that gave it. False only where
            none leaves the dispatcher and its children.
    """

    look_seconds = 1.0
    late_orders = True

    @_not_overridden
    def keeping_executor(self, folder: Path) -> Any:
        """Return a new executor that leaves the files of its jobs where they are, made like that of `executor`."""

    @_not_overridden
    def hide_from_listing(self, job_handle: str) -> AbstractContextManager[None]:
        """Let the lists of your backend leave a living job out until the context is left."""
        raise NotImplementedError

    @_not_overridden
    def break_status(self, job_handle: str) -> AbstractContextManager[None]:
        """Let what your executor asks its backend fail in words that it does not know until the context is left."""
        raise NotImplementedError

    @_not_overridden
    def rename(self, job_handle: str) -> AbstractContextManager[None]:
        """Give a living job another name, as its owner can, until the context is left."""
        raise NotImplementedError

    @_not_overridden
    def show_results_late(self, folder: Path) -> AbstractContextManager[None]:
        """Let what jobs have written below `folder` be seen only when the context is left."""
        raise NotImplementedError

    @_not_overridden
    def fill_disk(self, folder: Path) -> AbstractContextManager[None]:
        """Let no job write below `folder` any more until the context is left; the notes of the tasks still can."""
        raise NotImplementedError

    def test_each_hook_is_called_again_when_its_backend_is_back(self, bench: Bench) -> None:
        hooks = ("pickle", "upload", "provision", "run", "fetch", "release")

        for hook in hooks:
            bench.stops.fail(hook, "away", "...")

        bench.go()
        dispatch_id = bench.work()

        for hook in hooks:
            bench.until_waiting(dispatch_id, f"the backend is away ({hook})")
            assert not ct.get_result(dispatch_id).status.terminal or hook == "release"
            bench.stops.fail(hook)

        bench.check_completed(bench.end(dispatch_id))

    def test_a_cancel_is_not_confirmed_while_the_backend_cannot_say_what_it_has(self, bench: Bench) -> None:
        bench.stops.fail("provision", "lost")
        bench.stops.fail("find", "away", "...")
        dispatch_id = bench.work()
        bench.until(bench.begun)
        bench.until_waiting(dispatch_id, "the backend is away (find)")
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.until(lambda: bench.cancelling(dispatch_id)["error"])

        assert bench.node(dispatch_id)["status"] == Status.CANCELLING
        assert bench.alive()
        bench.stops.fail("find")
        ct.cancel(dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)
        assert len(bench.called("provision")) == 1

    def test_a_job_that_cannot_be_reconnected_to_goes_on_and_can_be_cancelled(self, bench: Bench) -> None:
        dispatch_id = bench.work()
        bench.until(lambda: bench.begun() and bench.called("run"))
        bench.kill()
        bench.stops.fail("run", "refused", "...")
        bench.until_waiting(dispatch_id, "the backend has refused (run)")

        assert bench.node(dispatch_id)["status"] == Status.RUNNING
        assert bench.alive()
        assert ct.cancel(dispatch_id)
        before = len(bench.stops.calls())
        bench.check_cancelled(bench.end(dispatch_id), before)
        # Who is refused often is locked out.
        assert len(bench.called("run")) == 2

    @pytest.mark.parametrize("files", ["removed", "kept"])
    def test_an_order_that_is_carried_out_after_the_release_starts_nothing(self, bench: Bench, files: str) -> None:
        if not self.late_orders:
            pytest.skip("late_orders is False: no order outlives the call that gave it")

        if files == "kept":
            _skip_unless_overridden(self.keeping_executor)
            bench.executor = self.keeping_executor(bench.folder)

        bench.stops.fail("provision", "unreachable")
        bench.stops.take("before-release")
        dispatch_id = bench.work()
        bench.wait_at("before-release")
        job = bench.as_seen_by_another_process(dispatch_id)
        bench.stops.leave("before-release")
        assert bench.end(dispatch_id).status == Status.FAILED

        # Refuse it, or let the job end before it begins.
        with suppress(Exception):
            bench.start(job)

        assert not bench.begun(), "the job began after its release"
        assert bench.alive() == []

        if files == "removed":
            bench.check_nothing_left()

        bench.release(job)

    @pytest.mark.parametrize("hiding", HIDINGS)
    def test_a_job_that_is_hard_to_see_is_not_taken_for_one_that_has_ended(self, bench: Bench, hiding: str) -> None:
        hide = getattr(self, hiding)
        _skip_unless_overridden(hide)
        dispatch_id = bench.work()
        bench.until(lambda: bench.begun() and bench.node(dispatch_id)["job_handle"])

        with hide(bench.node(dispatch_id)["job_handle"]):
            bench.lasts(self.look_seconds, lambda: bench.node(dispatch_id)["status"] == Status.RUNNING)
            bench.kill()
            assert not ct.get_result(dispatch_id).status.terminal
            bench.until(lambda: len(bench.called("run")) >= 2)
            bench.lasts(self.look_seconds, lambda: bench.node(dispatch_id)["status"] == Status.RUNNING)
            assert ct.cancel(dispatch_id)
            before = len(bench.stops.calls())
            bench.until(lambda: bench.node(dispatch_id)["status"].terminal or bench.cancelling(dispatch_id)["error"])

            if bench.node(dispatch_id)["status"].terminal:
                assert bench.alive() == [], "alive after the end"

        ct.cancel(dispatch_id)
        bench.check_cancelled(bench.end(dispatch_id), before)

    def test_results_that_appear_late_are_waited_for(self, bench: Bench) -> None:
        _skip_unless_overridden(self.show_results_late)
        dispatch_id = bench.work()
        bench.until(lambda: bench.begun() and bench.called("run"))
        bench.kill()
        bench.go()
        bench.until(lambda: bench.ended() and not bench.alive())

        with self.show_results_late(bench.folder):
            bench.lasts(self.look_seconds, lambda: not bench.node(dispatch_id)["status"].terminal)

        bench.check_completed(bench.end(dispatch_id))

    def test_a_job_that_finds_the_disk_full_at_its_end_has_an_end(self, bench: Bench) -> None:
        _skip_unless_overridden(self.fill_disk)
        dispatch_id = bench.work()
        bench.until(bench.begun)

        with self.fill_disk(bench.folder):
            bench.go()
            bench.until(bench.ended)
            bench.until(lambda: not bench.alive())

        result = bench.end(dispatch_id)

        assert result.status == Status.FAILED
        assert result.get_node_result(0)["error"]
        bench.check_nothing_left()
