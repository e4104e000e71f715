"""What AWS answers, in one sentence each; options that cannot work; and how often Braket may be asked."""

from __future__ import annotations

import re
import time
import warnings

import anyio
import pytest
from botocore import exceptions as known

from covalent_core.errors import BackendUnreachableError, ExecutorOptionError, JobEndedError
from covalent_core_braket import BraketError, BraketExecutor, BraketThrottledError
from covalent_core_braket._rates import Rate
from covalent_core_braket._refusals import NotThereError, QuotaReachedError, translate

ROLE = {"braket_job_execution_role_name": "role", "s3_bucket_name": "bucket"}


def answer(code: str, status: int, words: str = "words") -> known.ClientError:
    response = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return known.ClientError(response, "Any")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (answer("ThrottlingException", 429), BraketThrottledError, "CreateJob: words"),
        (answer("InternalServiceException", 500), BackendUnreachableError, "CreateJob: words (InternalService"),
        (answer("ExpiredTokenException", 403), BackendUnreachableError, "log in again"),
        (answer("ServiceQuotaExceededException", 402), QuotaReachedError, "CreateJob: words"),
        (answer("ResourceNotFoundException", 404), NotThereError, "CreateJob: words"),
        (answer("AccessDeniedException", 403), BraketError, "does not allow it"),
        (answer("ValidationException", 400), BraketError, "CreateJob: words (ValidationException)"),
        (known.NoCredentialsError(), BraketError, "name a profile with profile=, or log in"),
        (known.EndpointConnectionError(endpoint_url="x"), BackendUnreachableError, "Could not connect"),
        (known.ReadTimeoutError(endpoint_url="x"), BackendUnreachableError, "Read timeout"),
    ],
    ids=lambda value: getattr(value, "__name__", "") or str(value)[:40],
)
def test_an_answer_is_a_sentence(error: Exception, kind: type[Exception], words: str) -> None:
    found = translate(error, "CreateJob")

    assert isinstance(found, kind)
    assert words in str(found)


def test_expired_credentials_are_not_tried_again_at_once() -> None:
    found = translate(answer("ExpiredToken", 400), "ListObjectsV2")

    assert isinstance(found, BackendUnreachableError)
    assert found.refused


def test_a_bucket_that_a_policy_refuses_says_which_names_it_allows() -> None:
    assert "whose names begin with amazon-braket-" in str(translate(answer("AccessDenied", 403), "PutObject"))


@pytest.mark.parametrize(("code", "retry"), [("DeviceOfflineException", True), ("DeviceRetiredException", False)])
def test_whether_a_device_may_be_tried_again(code: str, retry: bool) -> None:
    found = translate(answer(code, 424), "CreateQuantumTask")

    assert isinstance(found, JobEndedError)
    assert found.retry is retry


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"braket_job_execution_role_name": "role"}, "needs s3_bucket_name="),
        ({"device": "arn:aws:braket:::device/quantum-simulator/amazon/sv1"}, "needs s3_bucket_name="),
        ({"device": "sv1", "s3_bucket_name": "bucket"}, "expected the ARN of a device"),
        ({**ROLE, "device": "local:braket/braket_sv"}, "name one of them"),
        ({**ROLE, "ecr_image_uri": "python:3.12"}, "Braket takes images from ECR alone"),
        ({**ROLE, "s3_prefix": "a{b"}, "Braket refuses {"),
        ({**ROLE, "time_limit": 500_000}, "expected seconds from 1 to 432,000"),
        ({"shots": -1}, "expected 0 or more"),
        ({"max_job_length": 5}, "here it is called 'time_limit'"),
        (
            {**ROLE, "region": "us-west-2", "ecr_image_uri": "292282985366.dkr.ecr.us-east-1.amazonaws.com/a:b"},
            "ecr_image_uri is in us-east-1 and region is 'us-west-2'",
        ),
    ],
    ids=str,
)
def test_options_that_cannot_work(options: dict[str, object], words: str) -> None:
    with pytest.raises(ExecutorOptionError, match=re.escape(words)):
        BraketExecutor(**options)


def test_an_option_that_has_no_place_any_more_is_left_out() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        BraketExecutor(log_group_name="group")

    assert "what a task writes is shown at its node" in str(said[0].message)


def test_a_rate_lets_some_come_at_once_and_then_one_after_the_other() -> None:
    async def take(count: int) -> list[float]:
        rate, began, taken = Rate(20, 3), time.monotonic(), []

        for _ in range(count):
            await rate.take()
            taken.append(time.monotonic() - began)

        return taken

    taken = anyio.run(take, 7)

    assert taken[2] < 0.05
    assert taken[6] >= 0.19
