"""The beginning of a bundle: run its job, or serve a dispatcher."""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from typing import Any, Dict, List

from .guard import begin_guarded, bury_job, bury_server
from .processes import own_handle
from .protocol import TAG
from .share import SharingSupervisor, lead
from .supervisor import Supervisor
from .worker import serving


def main(arguments: List[str]) -> None:
    # The bundle is opened again where tasks have another working directory.
    sys.argv[0] = os.path.abspath(sys.argv[0])
    handle = own_handle()

    if serving():
        serve(handle, int(arguments[1]), int(arguments[2]), arguments[3])
        return

    # A fifth of what it takes to start a runner, and one that serves has no need of it.
    import zipfile

    with zipfile.ZipFile(sys.argv[0]) as bundle:
        job = json.loads(bundle.read("job.json"))

    # Whatever starts in it can see that it is part of a task, where nobody has said so before.
    os.environ.setdefault(TAG, job["ticket"])
    os.makedirs("results", exist_ok=True)
    job["prefix"] = os.path.abspath(os.path.join("results", job["ticket"]))

    if arguments[:1] == ["--spread"]:
        # Without a guard: what its command starts may run elsewhere, and its end would prove nothing.
        os._exit(lead(job, arguments[1:]))

    if arguments[:1] == ["--share"]:
        share(handle, job, f"task-{os.environ[arguments[1]]}")
    else:
        run(handle, job, float(arguments[1]) if arguments[:1] == ["--lease"] else 0)

    # Who sees that the job has ended takes this process to be gone as well.
    os._exit(0)


def serve(handle: str, line: int, lock: int, folder: str) -> None:
    output = os.path.join(folder, os.environ[TAG])
    load()
    begin_guarded(partial(bury_server, output), line)
    Supervisor(handle, output, socket.socket(fileno=line), lock).serve()


def share(handle: str, job: Dict[str, Any], runner: str) -> None:
    # That it was killed is said by who started it, for all of its end.
    load()
    begin_guarded(lambda lost: None)
    SharingSupervisor(handle, job, runner).serve()


def run(handle: str, job: Dict[str, Any], lease: float) -> None:
    output = f"{job['prefix']}.{os.getpid()}"
    load()
    begin_guarded(partial(bury_job, job, handle, output))
    supervisor = Supervisor(handle, output, lease=lease)
    supervisor.run(job)
    supervisor.serve()


def load() -> None:
    """Import before the first fork what every worker needs: all share the memory of it, and the bundle may go."""
    import cloudpickle  # noqa: F401

    # An installed covalent_core goes before the few files of it that travel along.
    sys.path.append(sys.path.pop(0))
    from covalent_core._runner import exceptions, modules, task  # noqa: F401
