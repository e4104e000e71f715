"""The daemons of a Slurm cluster on this machine, kept by a process of their own.

They are munged, slurmctld and four slurmd, and for the accounting slurmdbd and its database: a mariadbd that knows no
users, and what it holds need not survive anything.

This file, run as a program, is their parent. It ends them when nobody holds a lock on the file ``users`` any more,
which the kernel sees to however somebody ends; and they end when it does.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pwd import getpwuid

from probes import processes_with, wait_until

#: The programs, and the Debian packages that bring them.
PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
}

CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket.2,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldDebug=info
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/{task}
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
AccountingStoragePass={folder}/munge.socket.2
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=500
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,sched_min_interval=1000,batch_sched_delay=0,default_queue_depth=1000
MinJobAge=300
KillWait=5
WaitTime=0
InactiveLimit=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=300
MessageTimeout=5
MaxArraySize=10001
MaxJobCount=10000
SlurmdParameters=config_overrides
NodeName={name}[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=256 RealMemory=64000
PartitionName=main Nodes={name}[1-3] Default=YES MaxTime=INFINITE State=UP
PartitionName=spare Nodes={name}4 MaxTime=INFINITE State=UP
MailProg=/bin/true
"""

ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket.2
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting}
SlurmUser={user}
DebugLevel=info
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={user}
StorageLoc=accounting
"""

#: It knows no users, so it needs no tables of its own; and what it knows it may lose.
DATABASE = """
--no-defaults --bind-address=127.0.0.1 --skip-grant-tables --skip-name-resolve --skip-log-bin --performance-schema=0
--innodb-buffer-pool-size=32M --innodb-log-file-size=4M --innodb-flush-method=nosync --innodb-doublewrite=0
--debug-no-sync --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --key-buffer-size=64K
""".split()

CGROUP = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=no
"""


class Daemons:
    """The daemons of a cluster, children of this process that end with it.

    Args:
        folder: Where it keeps all its files.
    """

    def __init__(self, folder: Path) -> None:
        missing = sorted({package for program, package in PROGRAMS.items() if which(program) is None})

        if missing:
            raise FileNotFoundError(
                "these tests need a real Slurm; install it with: apt-get install --no-install-recommends "
                f"slurm-wlm-basic-plugins {' '.join(PROGRAMS.values())} (missing: {', '.join(missing)})"
            )

        self._folder = folder
        self._config = folder / "slurm.conf"
        # The cgroups of a node have its name: two clusters on one machine must not share them.
        self._name = f"n{os.getpid()}x"
        self._nodes = [f"{self._name}{number}" for number in range(1, 5)]
        self._environment = {**os.environ, "SLURM_CONF": str(self._config)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._configure()

    def _configure(self) -> None:
        # Root alone may have frozen cgroups; others have their processes found by their parents.
        has_cgroups = Path("/sys/fs/cgroup/freezer").exists() and os.getuid() == 0
        plugins = ("cgroup", "cgroup") if has_cgroups else ("linuxproc", "none")
        self._port = free_ports(7)
        first = self._port + 3
        values = {
            "name": self._name, "folder": self._folder, "first": first, "last": first + 3, "port": self._port,
            "accounting": self._port + 1, "database": self._port + 2, "user": getpwuid(os.getuid()).pw_name,
        }  # fmt: skip
        self._config.write_text(CONFIG.format(**values, proctrack=plugins[0], task=plugins[1]))
        accounting = self._folder / "slurmdbd.conf"
        accounting.touch(0o600)
        accounting.write_text(ACCOUNTING.format(**values))
        (self._folder / "cgroup.conf").write_text(CGROUP)
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

        for name in ("state", "database", *(f"spool/{node}" for node in self._nodes)):
            (self._folder / name).mkdir(parents=True)

    def start(self) -> None:
        """Return when a job has run."""
        names = {
            "key-file": "munge.key",
            "socket": "munge.socket.2",
            "pid-file": "munged.pid",
            "seed-file": "munge.seed",
            "log-file": "munged.log",
        }
        files = [f"--{option}={self._folder / name}" for option, name in names.items()]
        self._start("munged", "munged", "--foreground", "--force", *files)
        self._start_accounting()
        self.start_controller()

        for node in self._nodes:
            self._start(node, "slurmd", "-D", "-N", node)

        done = self._folder / "done"
        script = f"#!/bin/sh\ntouch {done}\n".encode()
        sbatch = ["sbatch", "--output=/dev/null"]
        subprocess.run(sbatch, input=script, env=self._environment, check=True, capture_output=True)
        wait_until(done.exists, 30)

    def _start_accounting(self) -> None:
        places = {"datadir": "database", "socket": "mariadbd.socket", "pid-file": "mariadbd.pid"}
        files = [f"--{option}={self._folder / name}" for option, name in places.items()]
        user = ["--user=root"] if os.getuid() == 0 else []
        self._start("mariadbd", "mariadbd", *DATABASE, *files, *user, f"--port={self._port + 2}")
        wait_until(lambda: (self._folder / "munge.socket.2").exists() and listens(self._port + 2), 30)
        self._start("slurmdbd", "slurmdbd", "-D")
        wait_until(lambda: listens(self._port + 1), 30)

    def start_controller(self, *, afresh: bool = False) -> None:
        """Return when it answers.

        Args:
            afresh: It forgets all jobs.
        """
        self._start("slurmctld", "slurmctld", "-D", *(["-c"] if afresh else []))

        def answers() -> bool:
            ping = subprocess.run(["scontrol", "ping"], env=self._environment, capture_output=True, text=True)
            return ping.stdout.strip().endswith("is UP")

        wait_until(answers, 30)

    def stop_controller(self) -> None:
        """Let it save its state and end."""
        self._stop("slurmctld")

    def stop(self) -> None:
        for name in ("slurmctld", *self._nodes, "slurmdbd", "mariadbd", "munged"):
            if name in self._daemons:
                self._stop(name)

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with open(self._folder / f"{name}.out", "ab") as log:
            self._daemons[name] = subprocess.Popen(
                [str(which(program)), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, preexec_fn=end_with_parent,
            )  # fmt: skip

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(signal.SIGTERM)

        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent has died; and let Control-C pass by."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """While this lasts, nobody else starts or ends the cluster."""
    with open(folder / "starting", "ab") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def is_used(folder: Path) -> bool:
    """Return whether another process holds the lock of the users."""
    # Through a file of its own the kernel would let go of the lock of this process as well.
    with open("/proc/locks") as locks:
        inode = os.stat(folder / "users").st_ino
        return any(f":{inode} " in line and f" {os.getpid()} " not in line for line in locks)


def main(folder: Path) -> None:
    """Keep a cluster as long as it is used, and start and stop its controller as ordered."""
    # The path of a socket may have 108 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        place, order = Path(name), Path(name, "order")
        (place / "keeper").write_text(str(os.getpid()))
        daemons = Daemons(place)

        try:
            daemons.start()
            (folder / "place.part").write_text(name)
            (folder / "place.part").rename(folder / "place")

            while not ends(folder):
                time.sleep(0.1)

                if order.exists():
                    carry_out(order.read_text(), daemons)
                    order.unlink()
        finally:
            daemons.stop()
            # Jobs that nobody has waited for, and the dispatchers that would.
            for pid in processes_with("SLURM_CONF", f"{name}/slurm.conf"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def carry_out(order: str, daemons: Daemons) -> None:
    if order == "stop":
        daemons.stop_controller()
    else:
        daemons.start_controller(afresh=order == "start afresh")


def ends(folder: Path) -> bool:
    """Return whether nobody uses it any more; then nobody can begin to use it either."""
    if is_used(folder):
        return False

    with starting(folder):
        if is_used(folder):
            return False

        (folder / "place").unlink()
        return True


def which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


def free_ports(count: int) -> int:
    """Return the first of several ports in a row that nobody listens at, and that no connection is given by chance."""
    # Others who look for some at the same time begin elsewhere.
    first = 20_000 + 16 * (os.getpid() % 700)

    while not all(is_free(first + number) for number in range(count)):
        first = 20_000 + (first - 20_000 + count) % 12_000

    return first


def listens(port: int) -> bool:
    """Return whether somebody listens at a port; to look whether it is free could take it from who is about to."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True

    return False


def is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        return True

    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
