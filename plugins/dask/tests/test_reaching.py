"""Which clusters are used: those that match, that see the folder, and that show the right certificates."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cluster import Cluster
from probes import dispatchers_of, wait_until
from tasks import tasks
from work import Work, waiting

import covalent_core as ct
from covalent_core import Status
from covalent_core_dask._versions import differences

root = pytest.mark.skipif(os.getuid() != 0, reason="only root may give a process other mounts")


def said(python: str = "3.11.7.final.0", msgpack: str = "1.2.4") -> dict[str, object]:
    return {"packages": {"python": python, "distributed": "2026.8.0", "dask": "2026.8.0", "msgpack": msgpack}}


def test_versions_that_match_have_no_table() -> None:
    versions = {"client": said(), "scheduler": said(python="3.11.9.final.0"), "workers": {"a": said(), "b": None}}
    assert differences(versions) == ""


def test_the_table_has_what_differs_and_who() -> None:
    workers = {"tcp://a": said(), "tcp://b": said("3.12.1.final.0")}
    versions = {"client": said(), "scheduler": said(msgpack="1.0.0"), "workers": workers}
    assert differences(versions).splitlines() == [
        "           python  msgpack",
        "client     3.11    1.2.4",
        "scheduler  3.11    1.0.0",
        "tcp://b    3.12    1.2.4",
    ]


def test_a_worker_with_another_version_is_refused_before_the_first_job(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    cluster.start_scheduler()
    cluster.start_worker("good")
    old = tmp_path / "old/msgpack-0.9.9.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: msgpack\nVersion: 0.9.9\n")
    cluster.start_worker("old", path=str(old.parent))
    cluster.wait_for_workers(2)
    work = Work(tmp_path / "a", cluster.address)
    result = work.end(work.start())
    assert result.status == Status.FAILED
    error = result.get_node_result(0)["error"]
    assert "failed in 'provision'" in error
    assert "0.9.9" in error
    assert work.begun() == []
    assert work.left() == []


@root
def test_a_worker_that_does_not_see_the_folder_is_named(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    work = Work(tmp_path / "a", cluster.address)
    work.folder.mkdir(mode=0o700)
    cluster.start_scheduler()
    cluster.start_worker("blind", hide=str(work.folder))
    cluster.wait_for_workers(1)
    result = work.end(work.start())
    assert result.status == Status.FAILED
    assert f"do not see {work.folder}; set workdir" in result.get_node_result(0)["error"]
    assert work.left() == []


def test_a_scheduler_that_comes_late_is_waited_for(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    work = Work(tmp_path / "a", cluster.address)
    dispatch_id = work.start()
    wait_until(lambda: f"{cluster.address} does not answer" in waiting(dispatch_id))
    cluster.start_scheduler()
    cluster.start_worker("one")
    work.until_begun()
    work.go()
    work.check_completed(dispatch_id)


def test_certificates_are_shown(own_cluster, home, tmp_path) -> None:
    from distributed import Security

    made = Security.temporary()
    contents = {"tls_ca_file": made.tls_ca_file, "tls_cert": made.tls_worker_cert, "tls_key": made.tls_worker_key}

    for name, content in contents.items():
        (tmp_path / name).write_text(content)

    files = {name: str(tmp_path / name) for name in contents}
    cluster: Cluster = own_cluster(tls=files)
    cluster.start_scheduler()
    cluster.start_worker("one")
    cluster.wait_for_workers(1)
    options = {"tls_client_cert": files["tls_cert"], "tls_client_key": files["tls_key"]}
    work = Work(tmp_path / "a", cluster.address, tls_ca_file=files["tls_ca_file"], **options)
    dispatch_id = work.start()
    work.until_begun()
    ct.cancel(dispatch_id)
    work.check_cancelled(dispatch_id)


def test_a_cluster_in_the_dispatcher_listens_at_no_port(home, tmp_path) -> None:
    work = Work(tmp_path / "a", None)
    dispatch_id = work.start()
    work.until_begun()
    (dispatcher,) = dispatchers_of(home)
    assert listening(dispatcher) == []
    work.go()
    work.check_completed(dispatch_id)


def test_a_task_has_the_memory_of_its_worker_and_no_more(own_cluster, home, tmp_path) -> None:
    cluster: Cluster = own_cluster()
    cluster.start_scheduler()
    cluster.start_worker("small", "--memory-limit", "400MB")
    work = Work(tmp_path / "a", cluster.address)
    use = ct.electron(tasks().use, executor=work.executor)
    assert ct.dispatch_sync(ct.lattice(use))(50).result == 50 * 2**20
    result = ct.dispatch_sync(ct.lattice(use))(1000)
    assert result.status == Status.FAILED
    assert "MemoryError" in result.get_node_result(0)["error"]


def listening(pid: int) -> list[str]:
    """Return the ports at which a process listens."""
    sockets = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()}
    tables = [Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()]
    return [line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
