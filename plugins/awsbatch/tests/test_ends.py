"""Each end that AWS may give a job: its own sentence, and whether another attempt is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import work
from aws import Aws

import covalent_core as ct
from covalent_core import Status
from covalent_core_awsbatch import AWSBatchExecutor

TASKS = work.tasks()

#: Before anything runs: what the error says, and how many attempts there are where one more is allowed.
STARTS = {
    "image_unknown": ("there is no such image", 1),
    "image_timeout": ("could not be pulled", 2),
    "image_limit": ("use one in Amazon ECR", 2),
    "disk_full": ("the disk of its machine is full", 1),
    "wrong_architecture": ("for another architecture", 1),
    "start_failed": ("could not be started", 2),
    "docker_timeout": ("did not answer", 2),
    "role": ("look at the trust policy of the role", 1),
    "no_network": ("could not be made ready", 2),
}

#: In the middle.
RUNNING = {
    "spot": ("was taken away or failed", 2),
    "spot_fargate": ("its Fargate Spot capacity was taken back", 2),
    "out_of_memory": ("more memory than it was given", 1),
    "out_of_memory_0": ("more memory than it was given", 1),
    "out_of_memory_1": ("more memory than it was given", 1),
}

#: When all was done that was to be done.
DONE = ("agent_timeout", "agent_timeout_stopped", "failed_though_done")


@pytest.fixture
def executor(options: dict[str, Any], home: Path) -> AWSBatchExecutor:
    return AWSBatchExecutor(**options, poll_freq=1.0)


def submissions(aws: Aws) -> int:
    return aws.calls()["SubmitJob"]


@pytest.mark.parametrize("way", STARTS)
def test_an_end_before_the_start_says_why(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, way: str) -> None:
    words, attempts = STARTS[way]
    aws.plan(way, times=None)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), retries=1, retry_delay=0.1))

    assert result.status == Status.FAILED
    assert words in result.get_node_result(0)["error"]
    assert submissions(aws) == attempts
    assert work.begun(tmp_path) == []
    assert aws.objects(executor.s3_bucket_name) == []


@pytest.mark.long("a job that is ended from outside may still live for its grace period and the stop timeout")
def test_an_end_in_the_middle_says_why(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    folders = {way: tmp_path / way for way in RUNNING}
    running = {}

    for way, folder in folders.items():
        folder.mkdir()
        running[way] = work.dispatch(executor, TASKS.work, str(folder), retries=1, retry_delay=0.1)

    for way, folder in folders.items():
        work.until_begun(folder)
        aws.end(work.node(running[way])["job_handle"], way)

    for way, (_, attempts) in RUNNING.items():
        if attempts > 1:
            work.until_begun(folders[way], attempts, 60)
            # The second attempt is another job of Batch: nothing runs twice under one ticket.
            (folders[way] / "go").touch()

    for way, (words, attempts) in RUNNING.items():
        result = work.end(running[way])
        assert result.status == (Status.FAILED if attempts == 1 else Status.COMPLETED), way
        assert attempts == 2 or words in result.get_node_result(0)["error"]
        assert len(work.begun(folders[way])) == attempts

    assert aws.objects(executor.s3_bucket_name) == []


@pytest.mark.long("as above")
def test_an_end_that_may_not_be_tried_again_says_why(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    running = {}

    for way in ("spot", "spot_fargate"):
        folder = tmp_path / way
        folder.mkdir()
        running[way] = work.dispatch(executor, TASKS.work, str(folder))
        work.until_begun(folder)
        aws.end(work.node(running[way])["job_handle"], way)

    for way, dispatch_id in running.items():
        assert RUNNING[way][0] in work.end(dispatch_id).get_node_result(0)["error"]


@pytest.mark.parametrize("way", DONE)
def test_a_job_that_has_delivered_has_completed_whatever_aws_says(
    aws: Aws, executor: AWSBatchExecutor, tmp_path: Path, way: str
) -> None:
    aws.plan(way)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), "all"))

    assert result.result == "all"


def test_the_time_limit_is_kept_by_the_runner(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    executor = AWSBatchExecutor(**options, time_limit=1.5, poll_freq=1.0)
    result = work.end(work.dispatch(executor, TASKS.work, str(tmp_path), retries=2))

    assert "has reached its time limit" in result.get_node_result(0)["error"]
    assert len(work.begun(tmp_path)) == 1


@pytest.mark.long("a job that AWS ends may still live for its grace period and the stop timeout")
def test_the_time_limit_of_aws_is_the_net(aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path) -> None:
    aws.turn(time_limit=10.0)
    executor = AWSBatchExecutor(**options, time_limit=3600, poll_freq=1.0)
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), retries=2)
    work.until_begun(tmp_path)
    result = work.end(dispatch_id)

    assert "its time limit was reached, and AWS ended it" in result.get_node_result(0)["error"]
    assert len(work.begun(tmp_path)) == 1


IMAGES = {
    "no-python": "no such interpreter",
    "entrypoint-drops": "ENTRYPOINT",
    "entrypoint-eval": "ENTRYPOINT",
    "entrypoint-unquoted": "ENTRYPOINT",
}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_that_does_not_start_gets_a_sentence(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, image: str
) -> None:
    executor = AWSBatchExecutor(**options | {"container_image_uri": image}, poll_freq=1.0)
    result = work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), retries=2))

    assert IMAGES[image] in result.get_node_result(0)["error"]
    assert submissions(aws) == 1


@pytest.mark.parametrize("image", ["entrypoint-exec", "entrypoint-waits", "entrypoint-deaf"])
def test_an_entrypoint_that_passes_its_arguments_on_works(
    aws: Aws, options: dict[str, Any], home: Path, tmp_path: Path, image: str
) -> None:
    executor = AWSBatchExecutor(**options | {"container_image_uri": image}, poll_freq=1.0)
    assert work.end(work.dispatch(executor, TASKS.quick, str(tmp_path), image)).result == image


def test_somebody_else_who_ends_a_job_is_quoted(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    dispatch_id = work.dispatch(executor, TASKS.work, str(tmp_path), retries=2)
    work.until_begun(tmp_path)
    handle = work.node(dispatch_id)["job_handle"]
    aws.client("batch").terminate_job(jobId=handle, reason="this costs too much")
    result = work.end(dispatch_id)

    assert result.status == Status.FAILED
    assert "somebody has ended it at AWS (this costs too much" in result.get_node_result(0)["error"]
    assert len(work.begun(tmp_path)) == 1


def test_a_function_that_fails_is_not_an_end_of_aws(aws: Aws, executor: AWSBatchExecutor, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    result = work.end(work.dispatch(executor, TASKS.fail, str(tmp_path), "luck"))

    assert "ValueError: no luck" in result.get_node_result(0)["error"]
    assert isinstance(result.get_node_result(0)["exception"], ct.errors.TaskRuntimeError)
