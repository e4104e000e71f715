"""What a test does and sees: tasks that it dispatches, and their processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probes import alive, wait_until
from tasks import tasks

import covalent_core as ct
from covalent_core import Result, Status
from covalent_core_dask import DaskExecutor

PATIENCE = 60.0


class Work:
    """The tasks of one test on one cluster."""

    def __init__(self, folder: Path, address: str | None, **options: Any) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        self.folder = folder / "far"
        self.executor = DaskExecutor(address, workdir=str(self.folder), **{"grace": 0.5, **options})

    def start(self, *names: str, **options: Any) -> str:
        """Dispatch tasks that go on until told to `go`."""
        work, notes = ct.electron(tasks().work, **options), str(self.notes)

        @ct.lattice(executor=self.executor)
        def workflow() -> Any:
            return [work(notes, name) for name in names or ("0",)]

        return ct.dispatch(workflow)()

    def go(self) -> None:
        (self.notes / "go").touch()

    def begun(self) -> list[str]:
        """Return the names of the tasks that have begun, each as often as it has."""
        return sorted(file.name.split("-")[1] for file in self.notes.glob("begun-*"))

    def processes(self) -> list[int]:
        """Return the processes of the tasks and of their children."""
        return [int(pid) for file in self.notes.glob("begun-*") for pid in file.read_text().split()]

    def living(self) -> list[int]:
        return [pid for pid in self.processes() if alive(pid)]

    def until_begun(self, *names: str) -> None:
        wait_until(lambda: self.begun() == sorted(names or ("0",)), PATIENCE)

    def left(self) -> list[str]:
        """Return the files of jobs that are left."""
        return [file.name for file in self.folder.iterdir() if file.name.startswith("ct-")]

    def end(self, dispatch_id: str) -> Result:
        return ct.get_result(dispatch_id, wait=True, timeout=PATIENCE)

    def check_completed(self, dispatch_id: str, *names: str) -> None:
        """Each has run once, and nothing is left."""
        result = self.end(dispatch_id)
        assert result.status == Status.COMPLETED, result.error
        assert result.result == list(names or ("0",))
        assert self.begun() == sorted(names or ("0",))
        assert self.left() == []

    def check_cancelled(self, dispatch_id: str) -> None:
        """Nothing is alive, and nothing is left."""
        result = self.end(dispatch_id)
        assert result.status == Status.CANCELLED, result.error
        assert len(self.begun()) == len(set(self.begun()))
        assert self.living() == []
        assert self.left() == []


def waiting(dispatch_id: str, node_id: int = 0) -> str:
    """Return what a node says that it waits for."""
    return str(ct.get_result(dispatch_id).get_node_result(node_id)["waiting"] or "")


def handle(dispatch_id: str, node_id: int = 0) -> str:
    """Return the job handle of a node when it has one."""
    wait_until(lambda: ct.get_result(dispatch_id).get_node_result(node_id)["job_handle"], PATIENCE)
    return str(ct.get_result(dispatch_id).get_node_result(node_id)["job_handle"])
