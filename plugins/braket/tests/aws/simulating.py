"""Run what a quantum task is made of on Braket's simulator, and give the files that AWS would write."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from .devices import Device

#: One after the other: the parser of OpenQASM is not made for several threads.
_simulator = threading.Lock()


def run(action: str, shots: int, arn: str, device: Device, place: tuple[str, str], failure: str = "") -> dict[str, str]:
    """Return the results by the names of their files.

    Args:
        place: The bucket and the folder in which these files will be.
        failure: Why it fails, if it does: of a program set its last executable, and the others have results.
    """
    from braket.default_simulator import DensityMatrixSimulator, StateVectorSimulator
    from braket.schema_common import BraketSchemaBase

    simulator = DensityMatrixSimulator() if device.name == "DM1" else StateVectorSimulator()
    started = time.monotonic()

    with _simulator:
        found = json.loads(simulator.run(BraketSchemaBase.parse_raw_schema(action), shots=shots).json())

    milliseconds = int((time.monotonic() - started) * 1000)

    if "programResults" in found:
        if failure:
            fail_last_executable(found, failure)

        return program_set_files({**found, "s3Location": place}, arn, device)

    if failure:
        return {}

    found["taskMetadata"] |= {"id": arn, "deviceId": device.arn, "shots": shots}

    if not device.is_qpu:
        found["additionalMetadata"]["simulatorMetadata"] = {"executionDuration": milliseconds}

    return {"results.json": json.dumps(found)}


def fail_last_executable(found: dict[str, Any], failure: str) -> None:
    """Put a failure in place of the last result of a program set."""
    metadata, results = found["taskMetadata"], found["programResults"][-1]["executableResults"]
    why = {"failureReason": failure, "retryable": True, "category": "DEVICE"}
    header = {"name": "braket.task_result.program_set_executable_failure", "version": "1"}
    results[-1] = {"braketSchemaHeader": header, "inputsIndex": results[-1]["inputsIndex"], "failureMetadata": why}
    metadata["programMetadata"][-1]["executables"][-1] = why
    metadata["totalFailedExecutables"] = 1


def program_set_files(found: dict[str, Any], arn: str, device: Device) -> dict[str, str]:
    """Return the result of a program set as it lies in S3: a list of files, and a file for each part."""
    files: dict[str, str] = {}
    parts = []
    metadata = {**found["taskMetadata"], "id": arn, "deviceId": device.arn}

    for number, program in enumerate(found["programResults"]):
        executables = []

        for place, result in enumerate(program["executableResults"]):
            executables.append(f"executables/{place}.json")
            files[f"programs/{number}/{executables[-1]}"] = json.dumps(result)

        files[f"programs/{number}/program.json"] = json.dumps(program["source"])
        parts.append(f"programs/{number}/results.json")
        files[parts[-1]] = json.dumps({**program, "source": "program.json", "executableResults": executables})

    files["metadata.json"] = json.dumps(metadata)
    files["results.json"] = json.dumps({**found, "programResults": parts, "taskMetadata": "metadata.json"})
    return files


def metadata_of(action: str) -> dict[str, Any]:
    """Return what GetQuantumTask says of what it runs."""
    said = json.loads(action)
    kind = said["braketSchemaHeader"]["name"]

    if "programs" not in said:
        return {"actionType": kind}

    return {"actionType": kind, "programCount": len(said["programs"]), "executableCount": executables_of(action)}


def executables_of(action: str) -> int:
    """Return how many executables a program set has: one for each set of inputs of each program."""
    programs = json.loads(action)["programs"]
    return sum(max((len(values) for values in (one.get("inputs") or {}).values()), default=1) for one in programs)
