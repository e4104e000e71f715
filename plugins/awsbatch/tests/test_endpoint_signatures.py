"""The endpoint believes no more than AWS does: keys, tokens, signatures and their time."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from aws import Aws
from aws.expectations import code_of, wait_for
from aws.plain_jobs import PlainJobs, python
from botocore.config import Config

SIGNED = Config(signature_version="s3v4", retries={"total_max_attempts": 1})


@pytest.fixture
def jobs(aws: Aws) -> PlainJobs:
    return PlainJobs(aws, "fargate", "arn:aws:iam::123456789012:role/execution")


def client(aws: Aws, service: str, key: str, secret: str, token: str | None = None) -> Any:
    return boto3.client(
        service,
        endpoint_url=aws.url,
        region_name=aws.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=SIGNED,
    )


def send(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)

    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize(
    ("service", "operation", "unknown", "wrong"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("batch", "describe_job_queues", "UnrecognizedClientException", "InvalidSignatureException"),
        ("logs", "describe_log_groups", "UnrecognizedClientException", "InvalidSignatureException"),
        ("sts", "get_caller_identity", "UnrecognizedClientException", "InvalidSignatureException"),
    ],
)
def test_keys_that_are_none(aws: Aws, service: str, operation: str, unknown: str, wrong: str) -> None:
    nobody = client(aws, service, "AKIAIOSFODNN7EXAMPLE", "secret")
    liar = client(aws, service, aws.access_key, "secret")
    user = client(aws, service, aws.access_key, aws.secret_key)

    assert code_of(getattr(nobody, operation)) == (unknown, 403)
    assert code_of(getattr(liar, operation)) == (wrong, 403)
    assert getattr(user, operation)()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_temporary_credentials_die(aws: Aws) -> None:
    lasting, dead = aws.credentials(60), aws.credentials(0)

    assert client(aws, "s3", lasting["access_key"], lasting["secret_key"], lasting["token"]).list_buckets()
    for service, operation, answer in [
        ("s3", "list_buckets", ("ExpiredToken", 400)),
        ("batch", "describe_job_queues", ("ExpiredTokenException", 403)),
    ]:
        late = client(aws, service, dead["access_key"], dead["secret_key"], dead["token"])
        assert code_of(getattr(late, operation)) == answer
    without = client(aws, "s3", lasting["access_key"], lasting["secret_key"])
    assert code_of(without.list_buckets)[0] == "InvalidToken"
    aws.revoke(lasting["access_key"])
    revoked = client(aws, "s3", lasting["access_key"], lasting["secret_key"], lasting["token"])
    assert code_of(revoked.list_buckets)[0] == "InvalidAccessKeyId"


def test_a_role_that_was_assumed(aws: Aws) -> None:
    role = "arn:aws:iam::123456789012:role/execution"
    given = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    assumed = client(aws, "s3", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    assert assumed.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_presigned_url_dies_and_with_it_who_signed_it(aws: Aws, bucket: str) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="a key/ü", Body=b"content")
    short = aws.credentials(60)
    s3 = client(aws, "s3", short["access_key"], short["secret_key"], short["token"])

    def presigned(seconds: int) -> str:
        return str(s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a key/ü"}, seconds))

    url, brief = presigned(3600), presigned(1)
    assert send(url) == (200, b"content")
    assert send(url.replace("content", "x") + "1")[0] == 403
    wait_for(lambda: b"Request has expired" in send(brief)[1])
    assert b"less than a week" in send(presigned(8 * 24 * 3600))[1]
    aws.revoke(short["access_key"])
    assert send(url)[0] == 403


def test_version_2_of_signatures_is_no_more(aws: Aws, bucket: str) -> None:
    old = aws.client("s3", signature_version="s3")

    status, text = send(old.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}))

    assert (status, b"Please use AWS4-HMAC-SHA256" in text) == (400, True)
    assert send(f"{aws.url}/{bucket}/k")[0] == 403


def test_only_the_first_writes_and_the_condition_is_signed(aws: Aws, bucket: str) -> None:
    s3 = client(aws, "s3", aws.access_key, aws.secret_key)
    asked = {"Bucket": bucket, "Key": "owner"}
    conditional = s3.generate_presigned_url("put_object", {**asked, "IfNoneMatch": "*"}, 60)
    plain = s3.generate_presigned_url("put_object", asked, 60)

    assert b"not signed: if-none-match" in send(plain, "PUT", b"x", If_None_Match="*")[1]
    assert send(conditional, "PUT", b"x")[0] == 403
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: send(conditional, "PUT", b"%d" % n, If_None_Match="*")[0], range(16)))
    assert sorted(answers) == [200] + [412] * 15
    assert code_of(s3.put_object, **asked, Body=b"y", IfNoneMatch="*") == ("PreconditionFailed", 412)


def test_a_body_is_what_was_signed(aws: Aws, bucket: str) -> None:
    s3 = client(aws, "s3", aws.access_key, aws.secret_key)
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: setattr(request, "body", b"changed"))

    assert code_of(s3.put_object, Bucket=bucket, Key="k", Body=b"content")[0] == "XAmzContentSHA256Mismatch"


def test_a_container_fetches_credentials_that_die_and_others_after_them(aws: Aws, jobs: PlainJobs) -> None:
    aws.turn(credentials_for=60)
    code = python(
        "import json, os, urllib.request\n"
        "for _ in range(2):\n"
        "    found = json.load(urllib.request.urlopen(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']))\n"
        "    print(found['AccessKeyId'], found['SecretAccessKey'], found['Token'], found['Expiration'])\n"
    )
    job = jobs.run(code, task={"taskRoleArn": "arn:aws:iam::123456789012:role/job"})
    aws.wait(job)

    events = aws.client("logs").filter_log_events(logGroupName="/aws/batch/job")["events"]
    one, two = [event["message"].split() for event in events[-2:]]

    assert one[0] != two[0]
    assert client(aws, "s3", *one[:3]).list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert 0 <= time.mktime(time.strptime(one[3], "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime()) <= 61


def test_the_credentials_of_a_container_may_fail_too(aws: Aws, jobs: PlainJobs) -> None:
    aws.fault("GetRoleCredentials", "refused")
    code = python("import os, urllib.request as u; u.urlopen(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'])")
    job = jobs.run(code, task={"taskRoleArn": "arn:aws:iam::123456789012:role/job"})
    aws.wait(job)

    assert jobs.describe(job)["status"] == "FAILED"
    assert aws.calls()["GetRoleCredentials"] == 1
