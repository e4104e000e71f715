"""Large values go from one task to the next through the shared folder, past the dispatcher."""

from __future__ import annotations

from pathlib import Path

from probes import dispatchers_of, wait_until
from tasks import tasks
from work import Work

import covalent_core as ct

MEGABYTES = 100


def test_a_large_value_between_two_tasks_is_never_read_by_the_dispatcher(scheduler, home, tmp_path) -> None:
    work = Work(tmp_path / "a", scheduler)
    fill, measure, wait = (ct.electron(task) for task in (tasks().fill, tasks().measure, tasks().work))

    @ct.lattice(executor=work.executor)
    def workflow(folder):
        return measure(fill(MEGABYTES)), wait(folder)

    dispatch_id = ct.dispatch(workflow)(str(work.notes))
    work.until_begun()
    wait_until(lambda: measured(dispatch_id))
    (dispatcher,) = dispatchers_of(home)
    assert sum(moved(dispatcher).values()) < 20 * 2**20
    work.go()
    (size, last, _), _ = work.end(dispatch_id).result
    assert (size, last) == (MEGABYTES * 2**20, ord("x"))
    assert work.left() == []


def measured(dispatch_id: str) -> bool:
    nodes = ct.get_result(dispatch_id).get_all_node_outputs()
    return any(name.startswith("measure") and value is not None for name, value in nodes.items())


def moved(pid: int) -> dict[str, int]:
    """Return how many bytes a process has read and written."""
    lines = [line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines()]
    return {name: int(count) for name, count in lines if name in ("rchar", "wchar")}
