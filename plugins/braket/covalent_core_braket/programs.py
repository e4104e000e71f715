"""What runs where the function of an electron does: the programs that it returns, and their results.

Amazon's SDK is imported here alone, and only when it is needed: that takes a second.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: How the devices begin that are simulators of this machine.
LOCAL = "local:"


class Simulated:
    """A function whose circuits are run on a simulator of this machine; called like the function.

    Args:
        options: ``device`` and ``shots``, as JSON.
    """

    def __init__(self, options: str, function: Callable[..., Any]) -> None:
        self._options = json.loads(options)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the results of the circuits."""
        programs = programs_of(value_of(self._function, args, kwargs))
        simulator = simulator_of(self._options["device"])

        if isinstance(programs, list):
            return [simulator.run(program, shots=self._options["shots"]).result() for program in programs]

        return simulator.run(programs, shots=self._options["shots"]).result()


class Prepared:
    """A function whose circuits become the bodies of requests, in a file; called like the function.

    Args:
        options: The ``folder`` with a file ``options.json``, which has what `bodies_of` needs, as JSON.
    """

    def __init__(self, options: str, function: Callable[..., Any]) -> None:
        self._options = json.loads(options)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Leave the bodies in the folder."""
        folder = Path(self._options["folder"])
        options = json.loads((folder / "options.json").read_bytes())
        bodies = bodies_of(programs_of(value_of(self._function, args, kwargs)), **options)
        part = folder / "bodies.json.part"
        part.write_text(json.dumps(bodies))
        part.rename(folder / "bodies.json")


def value_of(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what a function returns, also where it is ``async def``."""
    value = function(*args, **kwargs)

    if inspect.iscoroutine(value):
        import asyncio

        return asyncio.run(value)

    return value


def programs_of(value: Any) -> Any:
    """Return what a function has returned as what a device can run: one program, or a list of them.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, (list, tuple)):
        if not value:
            raise TypeError("the electron has returned an empty list, expected circuits; there is nothing to run")

        return [_program_of(one) for one in value]

    return _program_of(value)


def _program_of(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(("OPENQASM", "//", "/*")):
        from braket.ir.openqasm import Program

        return Program(source=value)

    if type(value).__module__.partition(".")[0] != "braket":
        raise TypeError(
            f"the electron has returned a {type(value).__name__}, expected a Circuit, an OpenQASM program, a program "
            f"set, or a list of these; give an electron that returns something else another executor"
        )

    return value


def simulator_of(device: str) -> Any:
    """Return the simulator of this machine that Braket calls ``local:<provider>/<simulator>``.

    Raises:
        ValueError: None of this name is installed.
    """
    from braket.devices import LocalSimulator

    name = device[len(LOCAL) :].rpartition("/")[2]

    if name not in LocalSimulator.registered_backends():
        found = ", ".join(sorted(LocalSimulator.registered_backends()))
        raise ValueError(f"no simulator {name!r} is installed for {device}; there are: {found}")

    return LocalSimulator(name)


class _Taken(Exception):  # noqa: N818  (it is no error)
    """The body of a request, where the SDK would have sent it."""


class _Recorder:
    """What the SDK takes for its session: it keeps what is to be sent."""

    def create_quantum_task(self, **body: Any) -> str:
        raise _Taken(body)


def bodies_of(
    programs: Any,
    *,
    device: str,
    shots: int,
    bucket: str,
    key: str,
    program_sets: bool,
    disable_qubit_rewiring: bool,
    device_parameters: dict[str, Any],
    reservation_arn: str | None,
) -> dict[str, Any]:
    """Return the bodies of CreateQuantumTask, made by the SDK itself.

    Args:
        program_sets: Whether the device takes a list of circuits as one program set, which is one quantum task.
    """
    single = not isinstance(programs, list)
    one_set = not single and program_sets and len(programs) > 1 and all(map(_is_circuit, programs))

    if one_set:
        from braket.program_sets import ProgramSet

        # The SDK is given the shots of all of them together.
        shots, programs = shots * len(programs), [ProgramSet(programs)]

    def body(program: Any) -> dict[str, Any]:
        from braket.aws import AwsQuantumTask

        try:
            AwsQuantumTask.create(
                _Recorder(),
                device,
                program,
                (bucket, key),
                shots,
                device_parameters=dict(device_parameters),
                disable_qubit_rewiring=disable_qubit_rewiring,
                reservation_arn=reservation_arn,
            )
        except _Taken as taken:
            found: dict[str, Any] = taken.args[0]
            return found

        raise TypeError(f"the SDK has made no quantum task of a {type(program).__name__}")

    return {
        "single": single or one_set,
        "set": one_set or (single and _is_set(programs)),
        "bodies": [body(program) for program in ([programs] if single else programs)],
    }


def _is_circuit(program: Any) -> bool:
    from braket.circuits import Circuit

    return isinstance(program, Circuit)


def _is_set(program: Any) -> bool:
    return type(program).__name__ == "ProgramSet"


def result_of(text: str) -> Any:
    """Return the SDK's result object of what Braket has written into ``results.json``."""
    import braket.tasks as kinds
    from braket.schema_common import BraketSchemaBase

    result = BraketSchemaBase.parse_raw_schema(text)
    kind = getattr(kinds, type(result).__name__.replace("TaskResult", "QuantumTaskResult"))

    if hasattr(kind, "cast_result_types"):
        kind.cast_result_types(result)

    return kind.from_object(result)


def results_of(texts: str) -> list[Any]:
    """Return the SDK's result objects of several, as a JSON list of texts."""
    return [result_of(text) for text in json.loads(texts)]
