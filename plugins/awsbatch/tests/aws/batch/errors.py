"""What AWS Batch answers when it refuses."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal: what goes into ``Error`` of botocore's ClientError."""

    def __init__(self, message: str, code: str = "ClientException", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


def require(condition: object, message: str) -> None:
    """Refuse the request with this message unless the condition holds."""
    if not condition:
        raise ApiError(message)
