"""Many jobs at once: what the controller is asked, counted by the commands themselves.

``COVALENT_CORE_TEST_JOBS`` says how many they are at most: with 1000 these tests take minutes.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from commands import SlurmCommands
from probes import alive, wait_until
from tasks import tasks
from test_ends import begun, dispatch, end, rows

import covalent_core as ct
from covalent_core import Status
from covalent_core_slurm import SlurmExecutor
from covalent_core_slurm._submissions import PATIENCE

TASKS = tasks()

MANY = int(os.environ.get("COVALENT_CORE_TEST_JOBS", "200"))

pytestmark = pytest.mark.long("submits many jobs")

#: Options with which a job does not begin.
LATER = {"begin": "now+1hour"}


@pytest.fixture
def cluster(crowded_cluster: Cluster) -> Cluster:
    return crowded_cluster


def dispatch_many(count: int, folder: Path, executor: SlurmExecutor) -> str:
    """Dispatch tasks that need nothing of each other."""

    @ct.lattice
    def workflow() -> Any:
        run = ct.electron(TASKS.work, executor=executor)
        return [run(str(folder), str(number)) for number in range(count)]

    return ct.dispatch(workflow)()


def arrays(cluster: Cluster, folder: Path) -> Counter[str]:
    """Return the jobs that have been submitted, each with how many elements it has."""
    return Counter(job_id.partition("_")[0] for job_id in cluster.jobs(folder))


def check_that_none_ran_twice(folder: Path) -> None:
    runs = Counter(file.name.split("-")[1] for file in folder.glob("begun-*"))
    assert max(runs.values(), default=1) == 1


def handles(dispatch_id: str, *, pause: float = 0.2) -> list[str]:
    # To read a thousand rows again and again would take the time of those who write them.
    time.sleep(pause)
    return [row.handle for row in rows(dispatch_id) if row.handle is not None]


def statuses(dispatch_id: str) -> Counter[Any]:
    result = ct.get_result(dispatch_id)
    return Counter(result.get_node_result(row.node_id)["status"] for row in rows(dispatch_id))


def test_tasks_that_are_ready_together_go_in_as_one_array(cluster, commands, options, tmp_path) -> None:
    dispatch_id = dispatch_many(40, tmp_path, SlurmExecutor(**options))
    wait_until(lambda: len(begun(tmp_path)) == 40)
    (tmp_path / "go").touch()
    result = end(dispatch_id)

    assert sorted(result.result, key=int) == [str(number) for number in range(40)]
    assert commands.count("sbatch") == len(arrays(cluster, tmp_path)) == 1
    (array,) = arrays(cluster, tmp_path)
    assert sorted(handles(dispatch_id)) == sorted(f"{array}_{place}" for place in range(40))
    check_that_none_ran_twice(tmp_path)
    wait_until(lambda: list((tmp_path / "far").iterdir()) == [])


def test_tasks_that_ask_for_something_else_are_not_in_the_array(cluster, commands, options, tmp_path) -> None:
    @ct.lattice
    def workflow() -> Any:
        run = [ct.electron(TASKS.work, executor=SlurmExecutor(**options, mem=mem)) for mem in ("50M", "60M")]
        return [run[number % 2](str(tmp_path), str(number)) for number in range(6)]

    (tmp_path / "go").touch()
    assert end(ct.dispatch(workflow)()).status == Status.COMPLETED
    assert sorted(arrays(cluster, tmp_path).values()) == [3, 3]


def test_an_element_of_an_array_is_cancelled_and_the_others_go_on(cluster, commands, options, tmp_path) -> None:
    dispatch_id = dispatch_many(4, tmp_path, SlurmExecutor(**options))
    wait_until(lambda: len(begun(tmp_path)) == 4)
    node_id = rows(dispatch_id)[1].node_id
    assert ct.cancel(dispatch_id, task_ids=[node_id])
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(node_id)["status"] == Status.CANCELLED)

    assert len(cluster.living(tmp_path)) == 3
    (tmp_path / "go").touch()
    end(dispatch_id)
    assert statuses(dispatch_id) == {Status.COMPLETED: 3, Status.CANCELLED: 1}


def test_what_slurm_itself_says_of_an_element_of_an_array(cluster, commands, options, tmp_path) -> None:
    # Slurm would replace it.
    options["remote_workdir"] += "/%x"
    dispatch_id = dispatch_many(2, tmp_path, SlurmExecutor(**options))
    wait_until(lambda: len(begun(tmp_path)) == 2 and len(handles(dispatch_id)) == 2)
    first = rows(dispatch_id)[0]
    cluster.run("scancel", first.handle)
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(first.node_id)["status"] == Status.FAILED)
    error = str(ct.get_result(dispatch_id).get_node_result(first.node_id)["error"])

    assert re.search(r"its script said: slurmstepd.*: error: \*\*\* JOB .* CANCELLED AT", error), error
    (tmp_path / "go").touch()
    end(dispatch_id)
    assert statuses(dispatch_id) == {Status.FAILED: 1, Status.COMPLETED: 1}
    wait_until(lambda: list((tmp_path / "far" / "%x").iterdir()) == [])


def test_an_array_that_is_too_large_for_the_cluster_goes_in_as_several(cluster, commands, options, tmp_path) -> None:
    commands.refuse_arrays_of_more_than(3)
    (tmp_path / "go").touch()
    result = end(dispatch_many(7, tmp_path, SlurmExecutor(**options)))

    assert result.status == Status.COMPLETED, result.error
    assert sorted(arrays(cluster, tmp_path).values()) == [2, 2, 3]


def test_many_tasks_are_submitted_at_once_and_cancelled_at_once(cluster, commands, options, tmp_path) -> None:
    before = time.monotonic()
    dispatch_id = dispatch_many(MANY, tmp_path, SlurmExecutor(**options, options=LATER))
    wait_until(lambda: len(handles(dispatch_id)) == MANY, 120)
    submitted = time.monotonic() - before
    assert len(cluster.living(tmp_path)) == MANY
    assert ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    seconds = time.monotonic() - before
    print(f"{MANY} tasks: submitted in {submitted:.1f} s, over in {seconds:.1f} s, ", commands.counts())

    # One, unless this machine is so busy that nothing comes for a while after some of them.
    assert commands.count("sbatch") == len(arrays(cluster, tmp_path)) <= 1 + submitted / PATIENCE
    assert commands.count("scancel") <= 5
    # A squeue in each half second at most, and those who are in a hurry.
    assert commands.count("squeue") <= (time.monotonic() - before) / 0.1
    assert cluster.living(tmp_path) == {}


def test_pending_and_running_jobs_are_cancelled_with_few_calls(cluster, commands, options, tmp_path) -> None:
    waiting, running = SlurmExecutor(**options, options=LATER), SlurmExecutor(**options)
    count = MANY // 2 + 4

    @ct.lattice
    def workflow() -> Any:
        run = [ct.electron(TASKS.work, executor=executor) for executor in (running, waiting)]
        return [run[number >= 4](str(tmp_path), str(number)) for number in range(count)]

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: len(handles(dispatch_id)) == count and len(begun(tmp_path)) == 4, 120)
    before = time.monotonic()
    assert ct.cancel(dispatch_id)
    acknowledged = time.monotonic() - before
    result = end(dispatch_id)
    print(f"acknowledged in {acknowledged:.3f} s, over in {time.monotonic() - before:.1f} s, ", commands.counts())

    assert result.status == Status.CANCELLED
    assert acknowledged < 10
    assert commands.count("scancel") <= 5
    assert cluster.living(tmp_path) == {}
    assert not any(map(alive, begun(tmp_path)))


@pytest.mark.parametrize(
    ("is_forgotten", "running", "words"),
    [(False, 4, "it was cancelled from outside"), (True, 0, "Slurm no longer knows job")],
    ids=["known", "forgotten"],
)
def test_what_has_become_of_many_jobs_is_asked_for_at_once(
    cluster, commands, options, tmp_path, is_forgotten, running, words
) -> None:
    count = MANY // 4

    @ct.lattice
    def workflow() -> Any:
        # Two arrays and a single job.
        begins, waits = SlurmExecutor(**options), SlurmExecutor(**options, options=LATER)
        executors = [*[begins] * running, SlurmExecutor(**options, options=LATER, mem="50M"), *[waits] * count]
        runs = [ct.electron(TASKS.work, executor=executor) for executor in executors[:count]]
        return [run(str(tmp_path), str(number)) for number, run in enumerate(runs)]

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: len(handles(dispatch_id)) == count and len(begun(tmp_path)) == running)

    if is_forgotten:
        commands.forget_all()

    cluster.run("scancel", *arrays(cluster, tmp_path))
    result = end(dispatch_id)
    print(commands.counts())

    assert statuses(dispatch_id) == {Status.FAILED: count}
    assert all(words in str(result.get_node_result(row.node_id)["error"]) for row in rows(dispatch_id))
    # All at once, unless this machine is so busy that some are seen much later than others. Of an array that is not
    # listed each look has to ask.
    assert 1 <= commands.count("scontrol") <= (20 if is_forgotten else 5)
    assert (1 if is_forgotten else 0) <= commands.count("sacct") <= (5 if is_forgotten else 0)


def check_pace(commands: SlurmCommands) -> None:
    """Look at how often squeue is called."""
    before, asked = time.monotonic(), commands.count("squeue")
    wait_until(lambda: commands.count("squeue") >= asked + 4)
    more = commands.count("squeue") - asked
    seconds = time.monotonic() - before

    # The pause is half a second at first, and grows with the age of the youngest; besides the one who is in a hurry.
    assert more <= seconds / 0.5 + 2


def test_the_controller_is_asked_once_per_interval_however_many_jobs(commands, options, tmp_path) -> None:
    @ct.lattice
    def workflow() -> Any:
        # Of one cluster, though they are not of one executor.
        run = [ct.electron(TASKS.work, executor=SlurmExecutor(**options, mem=mem)) for mem in ("50M", "60M", "70M")]
        return [run[number % 3](str(tmp_path), str(number)) for number in range(30)]

    dispatch_id = ct.dispatch(workflow)()
    wait_until(lambda: len(begun(tmp_path)) == 30)
    check_pace(commands)
    (tmp_path / "go").touch()
    assert end(dispatch_id).status == Status.COMPLETED


def test_the_controller_is_not_pressed_while_a_job_does_what_comes_after_its_task(commands, options, tmp_path) -> None:
    after = f"while [ ! -e {tmp_path}/after ]; do sleep 0.05; done"
    (tmp_path / "go").touch()
    dispatch_id = dispatch(TASKS.work, str(tmp_path), executor=SlurmExecutor(**options, postrun_commands=[after]))
    wait_until(lambda: list((tmp_path / "far").glob("ct-*/results/*.ended")))
    check_pace(commands)
    (tmp_path / "after").touch()

    assert end(dispatch_id).result == "0"


def test_lost_answers_under_cancels_leak_nothing_and_start_nothing_twice(cluster, commands, options, tmp_path) -> None:
    commands.lose_answers()
    executor = SlurmExecutor(**options, options=LATER)
    dispatches: list[str] = []
    cancelled: set[str] = set()
    count = MANY // 4

    for number in range(count):
        # Each is a submission of its own: only those of one dispatch go in together.
        dispatches.append(dispatch(TASKS.work, str(tmp_path), executor=executor))

        if number % 2:
            # Some have hardly begun, others are in the queue.
            chosen = dispatches[number - number % 7]
            cancelled.add(chosen)
            ct.cancel(chosen)

    assert {end(dispatch_id).status for dispatch_id in cancelled} == {Status.CANCELLED}
    others = [dispatch_id for dispatch_id in dispatches if dispatch_id not in cancelled]
    wait_until(lambda: all(handles(dispatch_id, pause=0) for dispatch_id in others))
    known = {job_id for dispatch_id in others for job_id in handles(dispatch_id, pause=0)}

    assert commands.count("sbatch") >= count // 2
    # Each has a job and each job is known: none is lost and none went in twice.
    assert set(cluster.living(tmp_path)) == known
    assert len(known) == len(others)

    for dispatch_id in others:
        ct.cancel(dispatch_id)

    assert {end(dispatch_id).status for dispatch_id in others} == {Status.CANCELLED}
    print(f"{len(cancelled)} of {len(dispatches)} cancelled meanwhile, ", commands.counts())
    check_all_is_over(cluster, tmp_path)


def test_the_lost_answer_of_an_array_under_cancels(cluster, commands, options, tmp_path) -> None:
    commands.lose_answers()
    dispatch_id = dispatch_many(40, tmp_path, SlurmExecutor(**options))
    wait_until(lambda: len(rows(dispatch_id)) == 40)

    for row in rows(dispatch_id)[::3]:
        ct.cancel(dispatch_id, task_ids=[row.node_id])

    (tmp_path / "go").touch()
    end(dispatch_id)

    assert statuses(dispatch_id)[Status.FAILED] == 0
    assert statuses(dispatch_id)[Status.COMPLETED] >= 26
    check_all_is_over(cluster, tmp_path)


def check_all_is_over(cluster: Cluster, folder: Path) -> None:
    """No job is left, none was submitted twice, no task ran twice, and no file is left."""
    names = Counter((name, job_id.partition("_")[2]) for job_id, (name, _) in cluster.jobs(folder).items())

    assert [name for name, count in names.items() if count > 1] == []
    check_that_none_ran_twice(folder)
    wait_until(lambda: cluster.living(folder) == {})
    wait_until(lambda: list((folder / "far").iterdir()) == [])
