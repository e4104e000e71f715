"""What tests wait for, and how AWS refuses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


def wait_for(condition: Callable[[], Any], *passing: type[Exception], seconds: float = 10) -> None:
    """Return when this is so; exceptions of these types say that it is not so yet."""
    end = time.monotonic() + seconds

    while True:
        try:
            if condition():
                return
        except passing:
            pass

        assert time.monotonic() < end, "that took too long"
        time.sleep(0.01)


def refused(call: Callable[..., Any], **request: Any) -> str:
    """Return what boto3 says of a call that AWS refuses."""
    with pytest.raises(ClientError) as caught:
        call(**request)

    return str(caught.value)


def code_of(call: Callable[..., Any], **request: Any) -> tuple[str, int]:
    """Return code and HTTP status of a call that AWS refuses."""
    with pytest.raises(ClientError) as caught:
        call(**request)

    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
