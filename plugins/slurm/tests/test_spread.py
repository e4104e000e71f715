"""A pack whose members run side by side, over the tasks of one Slurm job, on several nodes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import test_conformance
from cluster import Cluster
from probes import alive, kill_dispatcher, processes_with, wait_until
from tasks import spread_tasks
from test_ends import end, handle, requeue

import covalent_core as ct
from covalent_core import Status
from covalent_core.errors import ExecutorOptionError
from covalent_core.testing._bench import Bench
from covalent_core.testing._matrix import MEMBER_CELLS, MemberCell
from covalent_core.testing._packs import Packs
from covalent_core_slurm import SlurmExecutor

TASKS = spread_tasks()

EIGHT = [str(number) for number in range(8)]


@pytest.fixture
def options(cluster: Cluster, home: Path, tmp_path: Path) -> dict[str, Any]:
    own = {"remote_workdir": str(tmp_path / "far"), "settle_seconds": 1}
    return {**own, "spread": True, "ntasks": 4, "nodes": 2, "grace": 2}


def dispatch(folder: Path, options: dict[str, Any], names: Iterable[str] = EIGHT, *, seconds: float = 0) -> str:
    """Dispatch one pack of tasks that go on until they are let go."""

    @ct.lattice(executor=SlurmExecutor(**options), pack=8)
    def workflow(folder: str) -> Any:
        return [ct.electron(TASKS.work)(folder, name, seconds) for name in names]

    return ct.dispatch(workflow)(str(folder))


def begun(folder: Path) -> dict[str, tuple[int, str]]:
    """Return by name, of the members that have begun, the process and the node of the cluster."""
    found = {}

    for file in folder.glob("begun-*"):
        pid, node = file.read_text().split()
        name = file.name.split("-")[1]
        assert name not in found, f"{name} has begun twice"
        found[name] = (int(pid), node)

    return found


def until_begun(folder: Path, *names: str) -> dict[str, tuple[int, str]]:
    """Return as `begun` does, when these have and no others."""
    wait_until(lambda: begun(folder).keys() >= set(names))
    assert begun(folder).keys() == set(names)
    return begun(folder)


def members(dispatch_id: str, function: str = "work") -> list[dict[str, Any]]:
    """Return what is known of the tasks that call a function, in their order."""
    result = ct.get_result(dispatch_id)
    return [result.get_node_result(node_id) for name, node_id in result.nodes() if name.startswith(f"{function}(")]


def statuses(dispatch_id: str, function: str = "work") -> list[str]:
    return [str(member["status"]) for member in members(dispatch_id, function)]


def runner_of(worker: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])


def let_go(folder: Path, name: str = "") -> None:
    (folder / (f"go-{name}" if name else "go")).touch()


def check_nothing_left(cluster: Cluster, folder: Path) -> None:
    """Look at the processes themselves, on all nodes: they are this machine."""
    ticket = next(name for name, _ in cluster.jobs(folder).values())

    assert not any(alive(pid) for pid, _ in begun(folder).values())
    assert processes_with("COVALENT_CORE_SUPERVISOR", ticket) == []
    assert cluster.living(folder) == {}


def test_members_run_side_by_side_on_several_nodes(cluster, options, tmp_path) -> None:
    dispatch_id = dispatch(tmp_path, options)
    first = until_begun(tmp_path, "0", "1", "2", "3")

    assert all(alive(pid) for pid, _ in first.values())
    assert len({pid for pid, _ in first.values()}) == 4
    assert len({node for _, node in first.values()}) == 2
    assert len(cluster.living(tmp_path)) == 1

    # A task of the job that has come to its end takes the next member, and what it has had is there.
    let_go(tmp_path, "2")
    assert until_begun(tmp_path, "0", "1", "2", "3", "4")["4"] == first["2"]
    wait_until(lambda: statuses(dispatch_id)[2] == "COMPLETED")

    assert members(dispatch_id)[2]["output"] == "2"
    assert statuses(dispatch_id) == ["RUNNING"] * 2 + ["COMPLETED"] + ["RUNNING"] * 5

    let_go(tmp_path)

    assert end(dispatch_id).result == EIGHT
    assert [member["stdout"] for member in members(dispatch_id)] == [f"this is {name}\n" for name in EIGHT]
    assert begun(tmp_path).keys() == set(EIGHT)
    check_nothing_left(cluster, tmp_path)
    assert list((tmp_path / "far").iterdir()) == []


@pytest.mark.parametrize("through", ["login node", "SSH"])
def test_what_each_member_writes_is_seen_while_it_runs(options, tmp_path, through, request) -> None:
    reach = request.getfixturevalue("reach") if through == "SSH" else {}
    dispatch_id = dispatch(tmp_path, {**options, **reach})
    until_begun(tmp_path, "0", "1", "2", "3")

    def written() -> list[str]:
        return [member["stdout"] for member in members(dispatch_id)[:4]]

    wait_until(lambda: all(written()))
    assert written() == [f"this is {name}\n" for name in EIGHT[:4]]
    let_go(tmp_path)
    assert end(dispatch_id).result == EIGHT


def test_members_that_need_others_have_their_values(cluster, options, tmp_path) -> None:
    @ct.lattice(executor=SlurmExecutor(**options, pack="chain"))
    def workflow(folder: str) -> Any:
        large = ct.electron(TASKS.repeat)("ab", 2**17)
        work = [ct.electron(TASKS.work)(folder, name, 0, large) for name in "357"]
        each = [ct.electron(TASKS.append)(large, name) for name in work]
        return ct.electron(TASKS.sizes)(*each, large)

    dispatch_id = ct.dispatch(workflow)(str(tmp_path))
    first = until_begun(tmp_path, "3", "5", "7")
    assert all(alive(pid) for pid, _ in first.values())
    let_go(tmp_path)

    assert end(dispatch_id).result == [[2**18 + 1, "3"], [2**18 + 1, "5"], [2**18 + 1, "7"], [2**18, "b"]]
    assert len(cluster.jobs(tmp_path)) == 1


@pytest.mark.parametrize(
    ("grace", "seconds"),
    [(3, 1.0), pytest.param(12, 7.0, marks=pytest.mark.long("waits for a grace period"))],
    ids=["of Slurm", "longer"],
)
def test_a_cancelled_pack_is_nowhere_alive(cluster, options, tmp_path, grace, seconds) -> None:
    dispatch_id = dispatch(tmp_path, {**options, "grace": grace}, seconds=seconds)
    running = until_begun(tmp_path, "0", "1", "2", "3")
    assert ct.cancel(dispatch_id)
    wait_until(lambda: ct.get_result(dispatch_id).status == Status.CANCELLED)

    assert not any(alive(pid) for pid, _ in running.values())
    check_nothing_left(cluster, tmp_path)
    assert {file.name for file in tmp_path.glob("cleaned-*")} == {f"cleaned-{name}" for name in "0123"}
    assert until_begun(tmp_path, "0", "1", "2", "3")
    assert set(statuses(dispatch_id)) == {"CANCELLED"}


def test_members_are_cancelled_alone(cluster, options, tmp_path) -> None:
    @ct.lattice(executor=SlurmExecutor(**options, pack=8))
    def workflow(folder: str) -> Any:
        done = [ct.electron(TASKS.work)(folder, name) for name in EIGHT]
        return [[done[0], done[3]], done[1]]

    dispatch_id = ct.dispatch(workflow)(str(tmp_path))
    running = until_begun(tmp_path, "0", "1", "2", "3")
    # The one runs, the other waits for its turn.
    assert ct.cancel(dispatch_id, [members(dispatch_id)[place]["node_id"] for place in (1, 6)])
    wait_until(lambda: [statuses(dispatch_id)[place] for place in (1, 6)] == ["CANCELLED"] * 2)

    assert not alive(running["1"][0])
    assert [alive(running[name][0]) for name in "023"] == [True] * 3
    assert (tmp_path / "cleaned-1").exists()

    until_begun(tmp_path, "0", "1", "2", "3", "4")
    let_go(tmp_path)
    end(dispatch_id)
    ended = dict(zip(EIGHT, statuses(dispatch_id), strict=True))

    assert [name for name in EIGHT if ended[name] == "CANCELLED"] == ["1", "6"]
    assert [name for name in EIGHT if ended[name] == "COMPLETED"] == list("023457")
    assert begun(tmp_path).keys() == set("0123457")
    check_nothing_left(cluster, tmp_path)


def test_a_runner_that_is_killed_costs_the_others_nothing(cluster, options, tmp_path) -> None:
    @ct.lattice(executor=SlurmExecutor(**options, pack="chain"))
    def workflow(folder: str) -> Any:
        root = ct.electron(TASKS.repeat)("a", 1)
        work = [ct.electron(TASKS.work)(folder, name, 0, root) for name in "123"]
        return [ct.electron(TASKS.append)(value, "x") for value in work]

    dispatch_id = ct.dispatch(workflow)(str(tmp_path))
    running = until_begun(tmp_path, "1", "2", "3")
    worker, node = running["2"]
    os.kill(runner_of(worker), signal.SIGKILL)
    wait_until(lambda: not alive(worker))
    let_go(tmp_path)
    end(dispatch_id)

    assert statuses(dispatch_id) == ["COMPLETED", "FAILED", "COMPLETED"]
    assert statuses(dispatch_id, "append") == ["COMPLETED", "CANCELLED", "COMPLETED"]
    assert f"its script said: srun: error: {node}: task" in members(dispatch_id)[1]["error"]
    assert members(dispatch_id, "append")[1]["error"].startswith("upstream node")
    check_nothing_left(cluster, tmp_path)


@pytest.mark.long("Slurm ends the steps of a job at leisure")
def test_the_process_that_leads_is_killed(cluster, options, tmp_path) -> None:
    dispatch_id = dispatch(tmp_path, options)
    until_begun(tmp_path, "0", "1", "2", "3")
    cluster.run("scancel", "--batch", "--signal=KILL", handle(dispatch_id))
    end(dispatch_id)

    assert set(statuses(dispatch_id)) == {"FAILED"}
    assert "its script ended with an error" in members(dispatch_id)[0]["error"]
    check_nothing_left(cluster, tmp_path)


def test_a_job_that_is_cancelled_from_outside(cluster, options, tmp_path) -> None:
    dispatch_id = dispatch(tmp_path, options)
    until_begun(tmp_path, "0", "1", "2", "3")
    cluster.run("scancel", handle(dispatch_id))
    end(dispatch_id)

    assert set(statuses(dispatch_id)) == {"FAILED"}
    assert "it was cancelled from outside" in members(dispatch_id)[0]["error"]
    assert len(list(tmp_path.glob("cleaned-*"))) == 4
    check_nothing_left(cluster, tmp_path)


@pytest.mark.long("Slurm waits before it starts a job again")
def test_a_job_that_slurm_starts_again_does_not_begin_its_members_twice(cluster, options, home, tmp_path) -> None:
    dispatch_id = dispatch(tmp_path, options)
    until_begun(tmp_path, "0", "1", "2", "3")
    job_id = handle(dispatch_id)
    kill_dispatcher(home)
    requeue(cluster, job_id)
    wait_until(lambda: [state for _, state in cluster.jobs(tmp_path).values()] == ["FAILED"])
    end(dispatch_id)

    assert set(statuses(dispatch_id)) == {"FAILED"}
    assert "Slurm has put it back into its queue when its task had begun" in members(dispatch_id)[0]["error"]
    until_begun(tmp_path, "0", "1", "2", "3")
    check_nothing_left(cluster, tmp_path)


def test_srun_that_cannot_start_the_runners_says_why(options, tmp_path) -> None:
    dispatch_id = dispatch(tmp_path, {**options, "srun_options": {"nodelist": "nosuch"}})
    end(dispatch_id)

    assert set(statuses(dispatch_id)) == {"FAILED"}
    assert "its script said: srun: error: " in members(dispatch_id)[0]["error"]
    assert begun(tmp_path) == {}


def test_packs_that_become_ready_together_are_an_array(cluster, options, tmp_path) -> None:
    executor = SlurmExecutor(**{**options, "ntasks": 2, "postrun_commands": [f"touch {tmp_path}/after"]})

    @ct.lattice(executor=executor, pack=2)
    def workflow(folder: str) -> Any:
        return [ct.electron(TASKS.work)(folder, name) for name in "0123"]

    dispatch_id = ct.dispatch(workflow)(str(tmp_path))
    until_begun(tmp_path, "0", "1", "2", "3")
    assert len({job_id.partition("_")[0] for job_id in cluster.living(tmp_path)}) == 1
    let_go(tmp_path)

    assert end(dispatch_id).result == list("0123")
    assert (tmp_path / "after").exists()


def test_that_there_is_more_than_one_task_has_to_be_said() -> None:
    with pytest.raises(ExecutorOptionError, match="set ntasks= or nodes="):
        SlurmExecutor(spread=True)

    SlurmExecutor(spread=True, options={"ntasks-per-node": 2})


class TestSpread(test_conformance.TestOnTheLoginNode):
    """What an executor owes to packs, where one task of the job runs the members one after the other."""

    def executor(self, folder: Path) -> Any:
        self.far = folder / "far"
        return SlurmExecutor(remote_workdir=str(self.far), grace=0.5, spread=True, ntasks=1)

    @pytest.mark.parametrize("cell", [cell for cell in MEMBER_CELLS if cell.stop == "during-run"], ids=str)
    def test_pack_matrix(self, bench: Bench, cell: MemberCell) -> None:
        """Before and after, it makes no difference what runs the members."""
        super().test_pack_matrix(bench, cell)


for name in dir(TestSpread):
    if name.startswith("test_") and not hasattr(Packs, name):
        # What is not about packs is as it is where they are not spread.
        setattr(TestSpread, name, None)
