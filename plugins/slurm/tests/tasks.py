"""What the tests let Slurm run. The functions are nested so that they travel by value."""

from __future__ import annotations

from types import SimpleNamespace


def tasks() -> SimpleNamespace:
    def note(folder, name) -> None:
        import os

        with open(os.path.join(folder, f"begun-{name}-{os.getpid()}"), "w") as file:
            file.write(str(os.getpid()))

    def work(folder, name="0"):
        """Go on until there is a file ``go``."""
        import os
        import time

        note(folder, name)

        while not os.path.exists(os.path.join(folder, "go")):
            time.sleep(0.01)

        return name

    def clean_up(folder, seconds):
        """Take a while to end when told to."""
        import os
        import time

        import covalent_core as ct

        ct.current_task()
        note(folder, "0")

        try:
            while True:
                ct.checkpoint()
                time.sleep(0.01)
        finally:
            time.sleep(seconds)
            open(os.path.join(folder, "cleaned"), "w").close()

    def die(folder):
        """End as by the kernel when the memory is used up."""
        import os
        import signal

        note(folder, "0")
        os.kill(os.getpid(), signal.SIGKILL)

    def fill(folder, count):
        """Use so many megabytes of memory."""
        import time

        note(folder, "0")
        content = [bytearray(b"x") * 2**20 for _ in range(count)]
        time.sleep(0.5)
        return len(content)

    def environment(*names):
        import os

        return [os.environ.get(name) for name in names]

    def where():
        import os

        return os.getcwd()

    return SimpleNamespace(work=work, clean_up=clean_up, die=die, fill=fill, environment=environment, where=where)


def spread_tasks() -> SimpleNamespace:
    """Return tasks that say where they run, and go on until they are let go."""

    def note(folder, name) -> None:
        import os

        part = os.path.join(folder, f"part-{name}-{os.getpid()}")

        with open(part, "w") as file:
            file.write(f"{os.getpid()} {os.environ['SLURMD_NODENAME']}")

        os.rename(part, os.path.join(folder, f"begun-{name}-{os.getpid()}"))

    def work(folder, name, seconds=0, after=None):
        """Go on until there is a file ``go``, or take some seconds to clean up when told to end before."""
        import os
        import signal
        import time

        def clean_up(signum, frame):
            time.sleep(seconds)
            open(os.path.join(folder, f"cleaned-{name}"), "w").close()
            os._exit(1)

        signal.signal(signal.SIGTERM, clean_up)
        print(f"this is {name}", flush=True)
        note(folder, name)

        while not any(os.path.exists(os.path.join(folder, go)) for go in ("go", f"go-{name}")):
            time.sleep(0.01)

        return name

    def repeat(text, times):
        return text * times

    def append(text, more):
        return text + more

    def sizes(*texts):
        return [[len(text), text[-1]] for text in texts]

    return SimpleNamespace(work=work, repeat=repeat, append=append, sizes=sizes)
