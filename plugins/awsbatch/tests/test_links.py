"""Jobs without a role: presigned links, made anew as long as the dispatcher lives, and dead with the credentials."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws

from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()


@pytest.fixture
def linked(options: dict[str, Any], home: Path) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "batch_job_role_name"}


#: A program that boto3 asks for credentials: who asks again gets new ones, as after another login.
PROGRAM = """\
#!{python}
import datetime, json, urllib.request

request = urllib.request.Request("{url}/_aws/issue", b'{{"seconds": {seconds}}}', method="POST")
found = json.load(urllib.request.urlopen(request))
ends = datetime.datetime.fromtimestamp(found["expires"], datetime.timezone.utc).isoformat()
given = {{"AccessKeyId": "access_key", "SecretAccessKey": "secret_key", "SessionToken": "token"}}
print(json.dumps({{"Version": 1, "Expiration": ends, **{{name: found[key] for name, key in given.items()}}}}))
"""


@pytest.fixture
def short_lived(aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], None]:
    """Return what lets the credentials live for some seconds."""

    def write(seconds: float) -> None:
        program = tmp_path / "credentials"
        program.write_text(PROGRAM.format(python=sys.executable, url=aws.url, seconds=seconds))
        program.chmod(0o755)
        config = tmp_path / "aws-config"
        config.write_text(f"[default]\ncredential_process = {program}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    return write


def test_a_job_without_a_role_delivers(aws: Aws, linked: dict[str, Any], tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**linked, poll_freq=1.0)
    result = work.end(work.dispatch_many(executor, TASKS.quick, tmp_path, 3))

    assert result.result == ["0", "1", "2"]
    assert aws.objects(executor.s3_bucket_name) == []


def test_a_large_value_is_delivered_by_a_link(aws: Aws, linked: dict[str, Any]) -> None:
    executor = AWSBatchExecutor(**linked, poll_freq=1.0)
    assert len(work.end(work.dispatch(executor, lambda size: b"x" * size, 3_000_000)).result) == 3_000_000


def test_no_secret_is_in_what_aws_shows(aws: Aws, linked: dict[str, Any], tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**linked, poll_freq=1.0, variables={"PASSWORD": "swordfish" * 1000})
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), "all")
    work.until_begun(tmp_path)
    shown = aws.client("batch").describe_jobs(jobs=[work.node(dispatch_id)["job_handle"]])["jobs"]
    (tmp_path / "go").touch()

    assert work.end(dispatch_id).result == "all"
    assert "swordfish" not in str(shown)
    # One link to read with is all there is, and none to write with.
    assert str(shown).count("X-Amz-Signature") == 1


def test_variables_of_any_size_reach_the_task(aws: Aws, options: dict[str, Any], home: Path) -> None:
    executor = AWSBatchExecutor(**options, poll_freq=1.0, variables={"LONG": "x" * 9000})
    assert work.end(work.dispatch(executor, TASKS.environment, ["LONG"])).result == ["x" * 9000]


@pytest.mark.long("the credentials have to come to their end")
def test_links_are_made_anew_while_the_job_runs(
    aws: Aws, linked: dict[str, Any], short_lived: Callable[[float], None], tmp_path: Path
) -> None:
    short_lived(25)
    executor = AWSBatchExecutor(**linked, poll_freq=1.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), "all")
    work.until_begun(tmp_path)
    work.lasts(30, lambda: work.node(dispatch_id)["status"] == Status.RUNNING)
    (tmp_path / "go").touch()

    assert work.end(dispatch_id).result == "all"


@pytest.mark.long("the credentials have to come to their end")
def test_a_job_that_waited_longer_than_its_links_live_says_so(
    aws: Aws, linked: dict[str, Any], short_lived: Callable[[float], None], tmp_path: Path
) -> None:
    short_lived(20)
    aws.turn(start_delay=25.0)
    executor = AWSBatchExecutor(**linked, poll_freq=1.0)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path)))

    assert "set batch_job_role_name" in result.get_node_result(0)["error"]
    assert work.begun(tmp_path) == []
