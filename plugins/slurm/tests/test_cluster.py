"""The clusters of the tests themselves: one is kept while it is used, and one that does not start says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cluster import need_programs
from daemons import Daemons, is_used

USE = (
    "import fcntl, sys; users = open(sys.argv[1], 'ab+'); fcntl.lockf(users, fcntl.LOCK_SH); print(flush=True); input()"
)


def test_it_is_used_until_the_last_user_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE, str(tmp_path / "users")]
    users = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]

    for user in users:
        assert user.stdout is not None
        user.stdout.readline()

    for user in users:
        assert is_used(tmp_path)
        user.kill()
        user.communicate()

    assert not is_used(tmp_path)


def test_a_daemon_that_does_not_start_says_why(tmp_path: Path) -> None:
    need_programs()
    cluster = Daemons(tmp_path)
    (tmp_path / "munge.key").unlink()

    try:
        with pytest.raises(RuntimeError, match=r"(?s)ended: munged\nmunged said:\n.*munge\.key"):
            cluster.start()
    finally:
        cluster.stop()


def test_a_cluster_that_starts_leaves_what_another_is_using(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_programs()
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    # A database at work keeps some like this one, and ends without words when they vanish.
    (table := shared / "#sql-temptable-1-2-3.MAD").touch()
    cluster = Daemons(tmp_path)

    try:
        cluster.start_accounting()
        assert table.exists()
    finally:
        cluster.stop()
