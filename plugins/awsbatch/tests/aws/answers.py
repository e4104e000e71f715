"""How a service writes that it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(service: str, code: str, message: str, status: int) -> Answer:
    """Return the error as this service writes it."""
    if service == "s3":
        text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message><RequestId>1</RequestId></Error>"
        return Answer(status, [("Content-Type", "application/xml")], f"<?xml version='1.0'?>{text}".encode())

    if service in ("iam", "sts", "ec2"):
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        text = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
        return Answer(status, [("Content-Type", "text/xml")], text.encode())

    return as_json({"__type": code, "message": message}, status, [("x-amzn-ErrorType", code)])


def as_json(value: object, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Answer:
    """Return a value as JSON."""
    return Answer(status, [("Content-Type", "application/json"), *(headers or [])], json.dumps(value).encode())
