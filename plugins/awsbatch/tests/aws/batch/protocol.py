"""The wire of AWS Batch by botocore's model: paths to operations, and what requests and answers may hold."""

from __future__ import annotations

import functools
import json
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel
from botocore.validate import ParamValidator

from .errors import ApiError


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("batch")


@functools.cache
def _operations() -> dict[str, OperationModel]:
    operations = [_model().operation_model(name) for name in _model().operation_names]
    return {str(operation.http["requestUri"]): operation for operation in operations}


def operation_at(path: str) -> str:
    """Return the name of the operation at this path."""
    operation = _operations().get(path)
    return "Unknown" if operation is None else str(operation.name)


def parse(operation: str, body: bytes) -> dict[str, Any]:
    """Return what a request says.

    Raises:
        ApiError: It is not what the model of the operation has.
    """
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError(f"the body is no JSON: {error}", "SerializationException") from error

    if operation == "Unknown":
        raise ApiError("Unknown operation", "UnknownOperationException", 404)

    problems = ParamValidator().validate(request, _model().operation_model(operation).input_shape)

    if problems.has_errors():
        raise ApiError(f"Error executing request, Exception : {problems.generate_report()}")

    _check_enums(_model().operation_model(operation).input_shape, request, operation)
    return dict(request)


def check_answer(operation: str, answer: dict[str, Any]) -> None:
    """Refuse to answer what AWS would not.

    Raises:
        AssertionError: The model of the operation has no such answer.
    """
    # The model says that every job has startedAt, and AWS leaves it out of those that have not started.
    jobs = [{"startedAt": 0, **job} for job in answer.get("jobs", [])]
    checked = {**answer, "jobs": jobs} if jobs else answer
    problems = ParamValidator().validate(checked, _model().operation_model(operation).output_shape)
    assert not problems.has_errors(), f"wrong answer to {operation}: {problems.generate_report()}"


def _check_enums(shape: Any, value: Any, where: str) -> None:
    """Refuse a word that is none of those that the model lists, which botocore lets pass."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                _check_enums(member, value[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for number, item in enumerate(value):
            _check_enums(shape.member, item, f"{where}[{number}]")
    elif shape.type_name == "string" and shape.enum and value.upper() not in {word.upper() for word in shape.enum}:
        raise ApiError(f"{where} is {value!r}, which is none of {shape.enum}")
