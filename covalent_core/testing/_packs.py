"""What an executor owes to the nodes of a pack: one job, one handle, and an end for each of its own.

An executor need not know of packs. One without the hook `cancel_members` is asked to end the whole job, and what was
not cancelled runs again in another; so its tasks may run twice, and nothing else may differ.
"""

from __future__ import annotations

import pytest

import covalent_core as ct
from covalent_core import Status
from covalent_core.testing._bench import Bench
from covalent_core.testing._matrix import MEMBER_CELLS, STEPS, MemberCell
from covalent_core.testing._pack import Pack, dispatch_pack, members_of


class Packs:
    """Several nodes in one job."""

    @pytest.mark.parametrize("cell", MEMBER_CELLS, ids=str)
    def test_pack_matrix(self, bench: Bench, cell: MemberCell) -> None:
        bench.stops.take(cell.stop)
        pack = Pack(bench)

        if cell.ended:
            pack.go()

        bench.wait_at(cell.stop)

        if cell.begun:
            pack.bring_to(cell.member)

        if cell.event == "cancelled then killed":
            bench.stops.take(cell.ending)

        if cell.event.startswith("killed"):
            bench.kill()
            bench.stops.leave(cell.stop)

        if cell.event == "killed":
            pack.go()
            pack.check_ended()
            return

        runs = pack.runs("second")
        stopping = bool(pack.cancel("second"))

        if cell.event == "cancelled":
            bench.stops.leave(cell.stop)
        elif cell.event == "cancelled then killed":
            self._kill_at_the_ending(bench, cell, stopping)

        if stopping:
            pack.wait_until_cancelled("second")

        pack.go()
        pack.check_ended(*["second"] * stopping, again=cell.may_have_begun and not bench.cancels_members)

        assert stopping or cell.member == "over", "a member that had not ended was not cancelled"
        assert pack.runs("second") == runs, "the member began after it had been cancelled"

    def _kill_at_the_ending(self, bench: Bench, cell: MemberCell, stopping: bool) -> None:
        # Nothing is to be ended for a member whose outcome was stored before.
        if stopping:
            bench.wait_at(cell.ending)

        bench.kill()
        bench.stops.leave(cell.stop)
        bench.stops.leave(cell.ending)

    def test_a_pack_is_one_job_with_one_handle(self, bench: Bench) -> None:
        pack = Pack(bench)
        pack.go()
        result = pack.check_ended()
        called = [call.hook for call in bench.stops.calls() if call.event == "called"]
        handles = {node["job_handle"] for node in members_of(result)}

        assert called == [*STEPS, "release"]
        assert handles == {call.job_handle for call in bench.called("run")}
        assert len(bench.tickets()) == 1

    def test_each_member_has_its_own_end(self, bench: Bench) -> None:
        tasks, folders = bench.tasks, [bench.notes / name for name in ("before", "after")]
        bench.go()

        for folder in folders:
            folder.mkdir()
            (folder / "go").touch()

        work = [(tasks.work, str(folder), folder.name) for folder in folders]
        result = bench.end(dispatch_pack(bench, work[0], (tasks.raise_unlike,), (tasks.kill_itself,), work[1]))
        before, raised, killed, after = members_of(result)

        assert [(node["status"], node["output"]) for node in (before, after)] == [
            (Status.COMPLETED, "before"),
            (Status.COMPLETED, "after"),
        ]
        assert [(node["stdout"], node["stderr"]) for node in (before, raised, after)] == [
            ("out before\n", "err before\n"),
            ("before the end\n", ""),
            ("out after\n", "err after\n"),
        ]
        assert isinstance(raised["exception"].__cause__, ZeroDivisionError)
        assert killed["status"] == Status.FAILED
        assert "signal 9" in killed["error"]
        assert len(bench.begun()) == 2
        bench.check_nothing_left()

    def test_values_go_from_member_to_member(self, bench: Bench) -> None:
        tasks = bench.tasks

        @ct.lattice(executor=bench.executor, pack="chain")
        def workflow() -> object:
            repeat, size = ct.electron(tasks.repeat), ct.electron(tasks.size)
            return size(repeat(repeat(b"a", 2**20), 2))

        assert bench.end(ct.dispatch(workflow)()).result == 2 * 2**20
        assert len(bench.called("provision")) == 1
        bench.check_nothing_left()

    def test_an_end_of_a_member_is_seen_no_earlier_than_it_comes(self, bench: Bench) -> None:
        pack = Pack(bench)
        pack.bring_to("running")

        if bench.reports_results:
            bench.until(lambda: pack.node("first")["status"] == Status.COMPLETED)
            assert (pack.node("first")["output"], pack.node("first")["stdout"]) == ("first", "out first\n")

        assert pack.node("second")["status"] == Status.RUNNING
        assert pack.node("third")["status"] == Status.RUNNING
        pack.go()
        pack.check_ended()

    def test_a_member_that_ignores_sigterm_is_killed(self, bench: Bench) -> None:
        pack = Pack(bench, deaf=True)
        pack.bring_to("running")
        pack.cancel("second")
        pack.wait_until_cancelled("second")
        pack.go()
        pack.check_ended("second", again=not bench.cancels_members)

    def test_members_are_cancelled_one_after_the_other(self, bench: Bench) -> None:
        pack = Pack(bench)
        pack.bring_to("waiting")

        for name in ("third", "first"):
            pack.cancel(name)
            pack.wait_until_cancelled(name)

        pack.go()
        pack.check_ended("first", "third", again=not bench.cancels_members)
        assert pack.runs("third") == 0

    def test_a_pack_of_which_all_members_are_cancelled_is_ended(self, bench: Bench) -> None:
        pack = Pack(bench)
        pack.bring_to("running")
        ct.cancel(pack.dispatch_id)
        result = bench.end(pack.dispatch_id)

        assert result.status == Status.CANCELLED
        assert pack.alive("second") == []
        assert pack.runs("third") == 0
        assert not bench.called("cancel_members")
        bench.check_nothing_left()

    @pytest.mark.parametrize("fault", ["unreachable", "lost", "twice"])
    def test_a_cancel_of_a_member_goes_on_until_it_is_confirmed(self, bench: Bench, fault: str) -> None:
        bench.stops.fail("cancel_members" if bench.cancels_members else "cancel", fault)
        pack = Pack(bench)
        pack.bring_to("running")
        pack.cancel("second")
        pack.wait_until_cancelled("second")
        pack.go()
        pack.check_ended("second", again=not bench.cancels_members)

    def test_a_member_that_takes_too_long_is_ended_alone(self, bench: Bench) -> None:
        folder = bench.notes / "slow"
        folder.mkdir()
        tasks = bench.tasks

        @ct.lattice(executor=bench.executor, pack=3)
        def workflow() -> None:
            ct.electron(tasks.size)("abc")
            ct.electron(timeout=0.5)(tasks.work)(str(folder), "slow")
            ct.electron(tasks.size)("abcd")

        result = bench.end(ct.dispatch(workflow)())
        before, slow, after = members_of(result)

        assert [before["output"], after["output"]] == [3, 4]
        assert slow["status"] == Status.FAILED
        assert "timed out after 0.5 s" in slow["error"]
        # None where to start takes longer than the timeout.
        assert len(bench.begun()) <= 1
        bench.check_nothing_left()
