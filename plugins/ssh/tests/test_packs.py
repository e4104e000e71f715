"""Packs over SSH: one job on the host, many nodes."""

from __future__ import annotations

from pathlib import Path

from probes import alive, wait_until
from tasks import count, runs_in

import covalent_core as ct
from covalent_core import Status


def test_a_member_is_cancelled_and_the_others_go_on(far, executor, tmp_path: Path) -> None:
    electron = ct.electron(count, executor=executor)
    folders = [tmp_path / name for name in ("first", "second", "third")]

    for folder in folders:
        folder.mkdir()

    @ct.lattice(pack=3)
    def workflow(folders):
        return [electron(folder, 60.0 if place == 1 else 0.0) for place, folder in enumerate(folders)]

    dispatch_id = ct.dispatch(workflow)(folders)
    wait_until(lambda: runs_in(folders[1]))
    (pid,) = runs_in(folders[1])
    node_id = [node_id for name, node_id in ct.get_result(dispatch_id).nodes() if name.startswith("count")][1]
    ct.cancel(dispatch_id, task_ids=[node_id])
    wait_until(lambda: not alive(pid), seconds=5)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)
    statuses = [result.get_node_result(node)["status"] for name, node in result.nodes() if name.startswith("count")]
    handles = {result.get_node_result(node)["job_handle"] for name, node in result.nodes() if name.startswith("count")}

    assert statuses == [Status.COMPLETED, Status.CANCELLED, Status.COMPLETED]
    assert len(handles) == 1
    assert [len(runs_in(folder)) for folder in folders] == [1, 1, 1]
