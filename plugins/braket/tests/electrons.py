"""Electrons for the tests. They are nested, so that they travel by value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def electrons() -> SimpleNamespace:
    """Return the functions, each under its name."""

    def bell(*_: Any) -> Any:
        from braket.circuits import Circuit

        print("a pair")
        return Circuit().h(0).cnot(0, 1)

    def openqasm() -> str:
        return "OPENQASM 3.0; qubit[2] q; bit[2] c; h q[0]; cnot q[0], q[1]; c = measure q;"

    def flips(count: int) -> Any:
        """Return circuits that measure 0, 1, 0, 1, ..."""
        from braket.circuits import Circuit

        return [Circuit().x(0) if number % 2 else Circuit().i(0) for number in range(count)]

    def program_set() -> Any:
        from braket.circuits import Circuit
        from braket.program_sets import ProgramSet

        return ProgramSet([Circuit().x(0), Circuit().i(0)])

    def number() -> int:
        return 7

    def fail() -> None:
        raise ZeroDivisionError("seven by nothing")

    def wait(folder: str) -> Any:
        """Note this process and a child of it, and go on for ever."""
        import os
        import subprocess
        import time

        child = subprocess.Popen(["sleep", "300"], start_new_session=True)

        with open(os.path.join(folder, "part"), "w") as file:
            file.write(f"{os.getpid()} {child.pid}")

        os.rename(os.path.join(folder, "part"), os.path.join(folder, "pids"))
        time.sleep(300)

    def counts(result: Any) -> Any:
        if isinstance(result, list):
            return [dict(one.measurement_counts) for one in result]

        return dict(result.measurement_counts)

    return SimpleNamespace(
        bell=bell,
        openqasm=openqasm,
        flips=flips,
        program_set=program_set,
        number=number,
        fail=fail,
        wait=wait,
        counts=counts,
    )
