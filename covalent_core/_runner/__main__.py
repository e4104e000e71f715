"""The beginning of a bundle: run its job, or serve a dispatcher."""

from __future__ import annotations

import json
import os
import socket
import sys
import zipfile
from typing import List

from .protocol import TAG
from .share import SharingSupervisor, lead
from .supervisor import Supervisor
from .worker import serving


def main(arguments: List[str]) -> None:
    # The bundle is opened again where tasks have another working directory.
    sys.argv[0] = os.path.abspath(sys.argv[0])
    import cloudpickle  # noqa: F401  (before the fork, so that every worker has it)

    # An installed covalent_core goes before the few files of it that travel along.
    sys.path.append(sys.path.pop(0))
    from covalent_core._runner import task  # noqa: F401

    if serving():
        line, lock = map(int, arguments[1:3])
        Supervisor(os.path.join(arguments[3], os.environ[TAG]), socket.socket(fileno=line), lock).serve()
        return

    with zipfile.ZipFile(sys.argv[0]) as bundle:
        job = json.loads(bundle.read("job.json"))

    os.makedirs("results", exist_ok=True)
    prefix = os.path.abspath(os.path.join("results", job["ticket"]))

    if arguments[:1] == ["--spread"]:
        os._exit(lead({**job, "prefix": prefix}, arguments[1:]))

    if arguments[:1] == ["--share"]:
        SharingSupervisor({**job, "prefix": prefix}, f"task-{os.environ[arguments[1]]}").serve()
        os._exit(0)

    lease = float(arguments[1]) if arguments[:1] == ["--lease"] else 0
    supervisor = Supervisor(f"{prefix}.{os.getpid()}", lease=lease)
    supervisor.run({**job, "prefix": prefix})
    supervisor.serve()
    # Who sees that the job has ended takes this process to be gone as well.
    os._exit(0)
