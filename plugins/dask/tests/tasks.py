"""What the tests let Dask's workers run. The functions are nested so that they travel by value."""

from __future__ import annotations

from types import SimpleNamespace


def tasks() -> SimpleNamespace:
    def begin(folder, name) -> None:
        """Note this process and a child in a session of its own."""
        import os
        import subprocess

        child = subprocess.Popen(["sleep", "300"], start_new_session=True)
        part = os.path.join(folder, f"part-{name}-{os.getpid()}")

        with open(part, "w") as file:
            file.write(f"{os.getpid()} {child.pid}")

        os.rename(part, os.path.join(folder, f"begun-{name}-{os.getpid()}"))

    def work(folder, name="0"):
        """Go on until there is a file ``go``."""
        import os
        import time

        print(f"this is {name}", flush=True)
        begin(folder, name)

        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.01)

        return name

    def use(megabytes):
        """Use so much memory."""
        return len(bytearray(b"x") * megabytes * 2**20)

    def fill(megabytes):
        return bytearray(b"x") * megabytes * 2**20

    def measure(value):
        import os

        return len(value), value[-1], os.uname().nodename

    def nothing(value):
        return value

    return SimpleNamespace(work=work, use=use, fill=fill, measure=measure, nothing=nothing)
