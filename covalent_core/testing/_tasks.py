"""What the suite lets an executor run.

The tasks are nested in a function so that they travel by value: nothing of this package is needed where they run. They
leave notes in a folder that they and the test see.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def tasks() -> SimpleNamespace:  # noqa: C901  (each of the functions in it is simple)
    """Return the functions, each under its name."""

    def begin(folder: str, deaf: bool = False) -> list[Any]:
        """Note this process, a child in another session and an orphan, and return what is needed to end them."""
        import json
        import os
        import signal
        import subprocess
        import uuid

        def ignore_terminate() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        if deaf:
            ignore_terminate()

        def start_of(pid: int) -> str:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[19]

        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        forking = ["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"]
        orphan = int(subprocess.run(forking, capture_output=True, start_new_session=True).stdout)
        processes = [f"{pid}.{start_of(pid)}" for pid in (os.getpid(), child.pid, orphan)]
        # In namespaces of their own two processes that start at one moment have the same number.
        name = uuid.uuid4().hex
        part = os.path.join(folder, f"part-{name}")

        with open(part, "w") as file:
            json.dump(processes, file)

        begun = os.path.join(folder, f"begun-{name}")
        os.rename(part, begun)
        return [child, orphan, begun]

    def end(started: list[Any]) -> None:
        """End what was begun, and note that from here on this process is the executor's again: it may be kept warm."""
        import contextlib
        import os
        import signal
        import time

        def state_of(pid: int) -> str:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0]

        child, orphan, begun = started
        child.kill()
        child.wait()
        os.kill(orphan, signal.SIGKILL)

        # On a busy machine it takes a while to die, and nobody who has ended a task may see it then.
        with contextlib.suppress(OSError):
            while state_of(orphan) not in ("Z", "X"):
                time.sleep(0.005)

        os.rename(begun, begun.replace("begun-", "ended-"))

    def work(folder: str, name: str, deaf: bool = False) -> str:
        """Begin, go on until there is a file ``go``, and return the name."""
        import os
        import sys
        import time

        print(f"out {name}")
        print(f"err {name}", file=sys.stderr)
        started = begin(folder, deaf)

        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.005)

        end(started)
        return name

    def careful(folder: str) -> None:
        """Run until the cancel is noticed, and say so."""
        import os
        import time

        import covalent_core as ct

        ct.current_task()
        begin(folder)

        try:
            while True:
                ct.checkpoint()
                time.sleep(0.005)
        except ct.TaskCancelledError as error:
            with open(os.path.join(folder, "cleaned"), "w") as file:
                file.write(error.reason)

            raise

    def join(*values: Any) -> tuple[Any, ...]:
        return values

    def size(*values: Any) -> int:
        return sum(map(len, values))

    def repeat(content: Any, times: int) -> Any:
        return content * times

    def raise_unlike() -> None:
        print("before the end")
        raise ZeroDivisionError("seven by nothing")

    def interpreter() -> str:
        import sys

        print("x" * 100_000)
        return sys.version

    def leave() -> None:
        import os

        os._exit(7)

    def kill_itself() -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    def identify() -> Any:
        import covalent_core as ct

        task = ct.current_task()
        assert task is not None
        return task.dispatch_id, task.node_id, task.attempt

    return SimpleNamespace(
        work=work,
        careful=careful,
        join=join,
        size=size,
        repeat=repeat,
        raise_unlike=raise_unlike,
        interpreter=interpreter,
        leave=leave,
        kill_itself=kill_itself,
        identify=identify,
    )
