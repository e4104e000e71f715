"""Several hosts at once: each with a line of its own, one behind another, one cut off, one switched off."""

from __future__ import annotations

import socket
from getpass import getuser
from pathlib import Path

import pytest
from far_side import options_for
from hosts import Host, three_hosts
from probes import wait_until
from tasks import count, dispatch_one, runs_in

import covalent_core as ct
from covalent_core import Status
from covalent_core_ssh import SSHExecutor

CONFIG = """
Host one
    HostName {one.address}
    IdentityFile {one.key}
    UserKnownHostsFile {one.known_hosts}

Host deep
    HostName {deep.address}
    IdentityFile {deep.key}
    UserKnownHostsFile {deep.known_hosts}
    ProxyJump one

Host *
    User {user}
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    with three_hosts(tmp_path_factory.mktemp("hosts")) as found:
        yield found


@pytest.fixture
def one(hosts) -> Host:
    return hosts[0]


@pytest.fixture
def two(hosts) -> Host:
    return hosts[1]


def executor_on(host: Host) -> SSHExecutor:
    return SSHExecutor(**options_for(host, 22), retry_wait_time=0.05, keepalive_interval=0.5, connect_timeout=1)


def where(*before):
    return [*before, socket.gethostname()]


def test_each_task_runs_on_its_own_host_and_one_connection_to_each_is_enough(hosts, shared_home: Path) -> None:
    one, two, deep = hosts
    folder = shared_home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)

    for host in hosts:
        host.trust(22)

    (folder / "config").write_text(CONFIG.format(one=one, deep=deep, user=getuser()))
    on_one, on_two = (ct.electron(where, executor=executor_on(host)) for host in (one, two))
    on_deep = ct.electron(where, executor=SSHExecutor("deep"))

    @ct.lattice
    def workflow():
        return on_deep(*[on_one() for _ in range(5)], *[on_two() for _ in range(5)])

    before = [host.logins() for host in hosts]

    try:
        result = ct.get_result(ct.dispatch(workflow)(), wait=True, timeout=60)
    finally:
        (folder / "config").unlink()

    assert result.result == [*[[one.name]] * 5, *[[two.name]] * 5, deep.name], result.error
    # The way to the third leads over the first.
    assert [host.logins() - number for host, number in zip(hosts, before, strict=True)] == [2, 1, 1]
    assert [host.files() for host in hosts] == [[], [], []]


def test_a_host_that_is_cut_off_keeps_its_task_and_holds_up_no_other(home, one, two, tmp_path) -> None:
    cut_off = dispatch_one(executor_on(one), count, tmp_path, 60)
    wait_until(lambda: runs_in(tmp_path))
    one.unplug()

    try:
        ct.cancel(cut_off)
        other = ct.get_result(dispatch_one(executor_on(two), abs, -1), wait=True, timeout=60)
        wait_until(lambda: (ct.get_result(cut_off).get_node_result(0)["cancelling"] or {}).get("error"))

        assert other.result == 1, other.error
        assert ct.get_result(cut_off).status == Status.CANCELLING
        assert one.runners()
    finally:
        one.plug()

    result = ct.get_result(cut_off, wait=True, timeout=60)
    assert result.status == Status.CANCELLED
    assert one.runners() == []
    wait_until(lambda: one.files() == [])


def test_of_a_container_that_was_started_anew_it_is_not_known_whether_the_old_one_has_ended(home, two, tmp_path):
    dispatch_id = dispatch_one(executor_on(two), count, tmp_path, 60)
    wait_until(lambda: runs_in(tmp_path) and ct.get_result(dispatch_id).get_node_result(0)["job_handle"])
    two.stop()
    two.start()
    ct.cancel(dispatch_id)
    words = f"the task runs on {two.name} in a container that cannot be seen from there"
    wait_until(lambda: words in str(ct.get_result(dispatch_id).get_node_result(0)["cancelling"]))
    assert ct.get_result(dispatch_id).status == Status.CANCELLING

    ct.cancel(dispatch_id, force=True)
    result = ct.get_result(dispatch_id, wait=True, timeout=60)

    assert result.status == Status.FAILED
    assert "given up by" in result.get_node_result(0)["error"]
    two.clear()
