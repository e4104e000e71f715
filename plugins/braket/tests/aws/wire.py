"""Braket's API on the wire: requests and answers, both checked against the service model of botocore."""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import botocore.validate

MODEL = botocore.session.get_session().get_service_model("braket")
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/braket/aws4_request")


class ApiError(Exception):
    """An error of the API.

    Attributes:
        code: Its name, as in the service model.
        detail: What is wrong, for the author of a test; AWS often says less.
    """

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail or message

    @property
    def status(self) -> int:
        """The HTTP status code."""
        if self.code not in MODEL.shape_names:
            return 403

        return int(MODEL.shape_for(self.code).metadata["error"]["httpStatusCode"])


@dataclass(frozen=True)
class Request:
    """A request that fits the model.

    Attributes:
        operation: Its name.
        access_key: Who signed it.
        region: For which region it was signed.
        fields: Its parameters.
    """

    operation: str
    access_key: str
    region: str
    fields: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)


def _routes() -> Iterator[tuple[str, re.Pattern[str], str]]:
    for name in MODEL.operation_names:
        http = MODEL.operation_model(name).http
        path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", http["requestUri"].split("?")[0])
        yield http["method"], re.compile(f"^{path}$"), name


ROUTES = list(_routes())


def route(method: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the operation of a request, and what its path says."""
    for wanted, pattern, operation in ROUTES:
        if method == wanted and (found := pattern.match(path)):
            return operation, {name: urllib.parse.unquote(value) for name, value in found.groupdict().items()}

    raise ApiError("ResourceNotFoundException", f"no operation is {method} {path}")


def signer(authorization: str) -> tuple[str, str]:
    """Return who has signed a request, and for which region."""
    found = CREDENTIAL.match(authorization)

    if found is None:
        raise ApiError("AccessDeniedException", "Missing Authentication Token")

    return found[1], found[2]


def fields(operation: str, in_path: dict[str, str], query: str, body: bytes) -> dict[str, Any]:
    """Return the parameters of a request.

    Raises:
        ApiError: They do not fit the model; AWS does not say where.
    """
    shape = MODEL.operation_model(operation).input_shape
    asked = urllib.parse.parse_qs(query)
    given: dict[str, Any] = json.loads(body) if body else {}

    for name, member in shape.members.items():
        place, key = member.serialization.get("location"), member.serialization.get("name", name)

        if place == "uri" and key in in_path:
            given[name] = in_path[key]
        elif place == "querystring" and key in asked:
            given[name] = asked[key] if member.type_name == "list" else asked[key][0]

    if wrong := "; ".join(misfits(given, shape, operation)):
        raise ApiError("ValidationException", "Invalid request body", wrong)

    return given


def misfits(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Say what of a value does not fit its shape: botocore's own check, and what that leaves to the service."""
    report = botocore.validate.ParamValidator().validate(value, shape)

    if report.has_errors():
        yield report.generate_report()

    yield from _beyond(value, shape, path)


def _beyond(value: Any, shape: Any, path: str) -> Iterator[str]:
    metadata = shape.metadata

    if shape.type_name == "structure" and isinstance(value, dict):
        for name, part in value.items():
            if name in shape.members:
                yield from _beyond(part, shape.members[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is not in the model"
    elif shape.type_name == "list" and isinstance(value, list):
        yield from _length(value, metadata, path)

        for part in value:
            yield from _beyond(part, shape.member, f"{path}[]")
    elif shape.type_name == "map" and isinstance(value, dict):
        yield from _length(value, metadata, path)

        for key, part in value.items():
            yield from _beyond(key, shape.key, f"{path} key")
            yield from _beyond(part, shape.value, f"{path}.{key}")
    elif isinstance(value, str):
        yield from _text(value, metadata, path)


def _length(value: Any, metadata: dict[str, Any], path: str) -> Iterator[str]:
    if len(value) > metadata.get("max", len(value)):
        yield f"{path} has a length of {len(value)}, at most {metadata['max']} is allowed"


def _text(value: str, metadata: dict[str, Any], path: str) -> Iterator[str]:
    yield from _length(value, metadata, path)

    if "enum" in metadata and value not in metadata["enum"]:
        yield f"{path} is {value!r}, which is not one of {', '.join(metadata['enum'])}"

    if "pattern" in metadata and not re.fullmatch(metadata["pattern"], value):
        yield f"{path} is {value!r}, which does not match {metadata['pattern']}"


def answer(operation: str, given: dict[str, Any]) -> tuple[int, bytes]:
    """Return an answer as it goes over the wire.

    Raises:
        AssertionError: It does not fit the model: a mistake of this endpoint.
    """
    model = MODEL.operation_model(operation)
    wrong = "; ".join(misfits(given, model.output_shape, operation)) if model.output_shape else ""
    assert not wrong, f"the answer to {operation} does not fit the model: {wrong}"
    return int(model.http.get("responseCode", 200)), json.dumps(given, default=_plain).encode()


def refusal(operation: str, problem: ApiError) -> tuple[int, bytes]:
    """Return an error as it goes over the wire.

    Raises:
        AssertionError: The operation does not know this error: a mistake of this endpoint.
    """
    known = [shape.name for shape in MODEL.operation_model(operation).error_shapes] if operation else [problem.code]
    expected = problem.code in known or problem.code not in MODEL.shape_names
    assert expected, f"{operation} has no {problem.code} in the model"
    return problem.status, json.dumps({"message": str(problem)}).encode()


def _plain(value: Any) -> str:
    assert isinstance(value, dt.datetime), f"{value!r} is no value of this API"
    return value.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
