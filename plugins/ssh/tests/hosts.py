"""Several hosts on one machine: each has a network, processes and a name of its own, and a real sshd.

Needs root and iproute2. Such a host can be cut off by taking its link down, and switched off with all that runs on it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from far_side import PROJECT, FarSide
from programs import leave_out, need

#: Tests that run side by side have hosts of their own.
PLACE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
ONE, TWO, DEEP, BRIDGE = (f"cc-{name}-{PLACE}" for name in ("one", "two", "deep", "bridge"))

#: The network between this machine and the hosts, and the one behind the first of them.
OUTER, INNER = f"10.213.{2 * PLACE}", f"10.213.{2 * PLACE + 1}"


def need_hosts() -> None:
    """Leave out the test that asks where no such hosts can be made."""
    need(PROJECT, "sshd", "ip")

    if reason := why_not():
        leave_out(f"no hosts can be made here: {reason}")


def why_not() -> str | None:
    if os.getuid() != 0:
        return "network namespaces need root"

    tried = subprocess.run(["unshare", "--net", "--pid", "--fork", "--uts", "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else None


class Host(FarSide):
    """One of these hosts.

    Attributes:
        name: What it calls itself.
        address: Where it is reached.
    """

    def __init__(self, folder: Path, name: str, address: str) -> None:
        self.name = name
        self._link = f"to-{name}"
        folder.mkdir()
        inside = ["ip", "netns", "exec", name, "unshare", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        super().__init__(
            folder, address=address, port=22, inside=[*inside, "sh", "-c", f'hostname {name}; exec "$@"', "-"]
        )

    def plug(self) -> None:
        """Connect it with the network."""
        run("ip", "link", "set", self._link, "up")

    def unplug(self) -> None:
        """Cut it off; what runs on it goes on."""
        run("ip", "link", "set", self._link, "down")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextmanager
def namespaces(*names: str) -> Iterator[None]:
    """Have network namespaces; nothing of them is left at the end."""
    with ExitStack() as stack:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            run("ip", "-n", name, "link", "set", "lo", "up")

        yield


@contextmanager
def three_hosts(folder: Path) -> Iterator[tuple[Host, Host, Host]]:
    """Give two hosts that are reached from here, and a third that is reached from the first of them only."""
    need_hosts()

    with ExitStack() as stack:
        stack.enter_context(namespaces(ONE, TWO, DEEP))
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        stack.callback(run, "ip", "link", "del", BRIDGE)
        run("ip", "addr", "add", f"{OUTER}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")

        for name, number in ((ONE, 11), (TWO, 12)):
            run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"to-{name}", "master", BRIDGE, "up")
            run("ip", "-n", name, "addr", "add", f"{OUTER}.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")

        run("ip", "-n", ONE, "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", DEEP)

        for name, device, number in ((ONE, "eth1", 1), (DEEP, "eth0", 11)):
            run("ip", "-n", name, "addr", "add", f"{INNER}.{number}/24", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")

        addresses = {ONE: f"{OUTER}.11", TWO: f"{OUTER}.12", DEEP: f"{INNER}.11"}
        hosts = []

        for name, address in addresses.items():
            hosts.append(Host(folder / name, name, address))
            stack.callback(hosts[-1].stop)

        one, two, deep = hosts
        yield one, two, deep
