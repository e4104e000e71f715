"""What is made of what electrons return: bodies of requests, by the SDK itself, and calls around pickles."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from aws.devices import ARIA
from braket.circuits import Circuit

from covalent_core import Job
from covalent_core._model.job import TaskCall
from covalent_core_braket import _pickles, programs

RESERVATION = "arn:aws:braket:us-east-1:123456789012:reservation/one"


def bodies(value: Any, **options: Any) -> dict[str, Any]:
    given = {
        "device": ARIA,
        "shots": 10,
        "bucket": "bucket",
        "key": "prefix/ticket",
        "program_sets": False,
        "disable_qubit_rewiring": False,
        "device_parameters": {},
        "reservation_arn": None,
        **options,
    }
    return programs.bodies_of(programs.programs_of(value), **given)


def test_a_body_has_what_the_options_say() -> None:
    found = bodies(Circuit().h(0), disable_qubit_rewiring=True, reservation_arn=RESERVATION)
    (body,) = found["bodies"]

    assert found["single"]
    assert body["deviceArn"] == ARIA
    assert body["shots"] == 10
    assert (body["outputS3Bucket"], body["outputS3KeyPrefix"]) == ("bucket", "prefix/ticket")
    assert json.loads(body["deviceParameters"])["paradigmParameters"]["disableQubitRewiring"] is True
    assert body["associations"] == [{"arn": RESERVATION, "type": "RESERVATION_TIME_WINDOW_ARN"}]
    assert "h $0" in json.loads(body["action"])["source"]
    # The same each time: there is no clock in it.
    assert bodies(Circuit().h(0), disable_qubit_rewiring=True, reservation_arn=RESERVATION) == found


def test_shots_are_those_of_each_circuit_also_in_a_program_set() -> None:
    found = bodies([Circuit().h(0), Circuit().x(0)], program_sets=True)

    assert (found["single"], found["set"]) == (True, True)
    assert [body["shots"] for body in found["bodies"]] == [20]
    assert [body["shots"] for body in bodies([Circuit().h(0), Circuit().x(0)])["bodies"]] == [10, 10]


@pytest.mark.parametrize("value", [7, None, "no program", [], [Circuit().h(0), 7]], ids=str)
def test_what_is_no_program_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="the electron has returned"):
        bodies(value)


def double(number: int) -> int:
    return number * 2


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_function_is_wrapped_without_being_opened(tmp_path: Path, protocol: int) -> None:
    shared: list[Any] = []
    function = pickle.dumps((double, shared, shared), protocol)
    task = TaskCall(0, "", function, b"")
    job = Job("", "ct-1", 0, (task, replace(task, node_id=1, graph=True)))
    _pickles.wrap(job, "Simulated", {"device": "local:braket/braket_sv"})
    once = job.tasks
    _pickles.wrap(job, "Simulated", {"device": "local:braket/braket_sv"})
    wrapped = pickle.loads(bytes(job.tasks[0].function))

    assert job.tasks == once
    assert job.tasks[1].function == function
    assert isinstance(wrapped, programs.Simulated)
    assert wrapped._function[0] is double
    assert wrapped._function[1] is wrapped._function[2]


def test_a_large_function_in_a_file_is_wrapped_too(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    file = tmp_path / "function"
    file.write_bytes(cloudpickle.dumps(lambda: content))
    job = Job("", "ct-1", 0, (TaskCall(0, "", file, b""),))
    _pickles.wrap(job, "Prepared", {"folder": "x"})

    assert pickle.loads(bytes(job.tasks[0].function))._function() == content
