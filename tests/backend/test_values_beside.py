"""Values that do not travel in a bundle, because the tasks see a folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from covalent_core._executors.bundle import pack
from covalent_core._model.job import Job, TaskCall
from covalent_core.backend import SharedFolder


@pytest.fixture
def job(tmp_path: Path) -> Job:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2**20))
    return Job("dispatch", "ct-1", 0, (TaskCall(3, "task", b"function", b"call", inputs={2: large, 1: b"small"}),))


def test_what_is_a_file_is_linked_beside_the_bundle(tmp_path: Path, job: Job) -> None:
    files = SharedFolder(tmp_path / "far")
    job.values_folder = files.values_folder(job)
    payload = pack(job)
    location = files.upload(job, payload)

    for _ in range(2):
        files.put_values(job)

    assert len(payload) < 2**19
    assert job.spec["values"][1] == ("bytes", b"small")
    kind, place = job.spec["values"][2]
    assert kind == "file"
    assert Path(place).parent == Path(location, "values")
    assert os.path.samefile(place, tmp_path / "large")


def test_what_cannot_be_linked_is_copied(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    files = SharedFolder(tmp_path / "far")
    files.upload(job, b"")
    files.put_values(job)
    (copy,) = Path(files.values_folder(job)).iterdir()
    assert copy.read_bytes() == (tmp_path / "large").read_bytes()


def test_without_it_all_travels(job: Job) -> None:
    assert len(pack(job)) > 2**20
