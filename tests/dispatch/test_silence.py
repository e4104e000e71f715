"""Nothing is concluded from silence: what is not known is asked again, seen at the node, and ends nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from probes import alive, kill_dispatcher, wait_until
from tasks import held, let_go, quick, tree

import covalent_core as ct
from covalent_core import Status


@pytest.fixture(autouse=True)
def plugins(installed_examples: None) -> None:
    """Install the examples."""


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    folder = tmp_path / "backend"
    folder.mkdir()
    return folder


def tell(backend: Path, hook: str, *faults: str) -> None:
    """Let the next calls of a hook not go well; afterwards they do, unless the last word is ``...``."""
    part = backend / f".{hook}"
    part.write_text("\n".join(faults))
    part.rename(backend / hook)


def calls(backend: Path, hook: str) -> int:
    file = backend / "calls"
    return sum(re.match(rf"{hook}( barred)? ct-", line) is not None for line in file.read_text().splitlines())


def node(dispatch_id: str, node_id: int = 0) -> dict[str, Any]:
    return ct.get_result(dispatch_id).get_node_result(node_id)


def waiting(dispatch_id: str, node_id: int = 0) -> str:
    return str(node(dispatch_id, node_id)["waiting"] or "")


def dispatch(backend: Path, folder: Path, task: Any = quick, **options: Any) -> str:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend), **options))
    def workflow(folder):
        return task(folder, "task")

    return ct.dispatch(workflow)(folder)


def end(dispatch_id: str) -> ct.Result:
    return ct.get_result(dispatch_id, wait=True, timeout=60)


@pytest.mark.parametrize("hook", ["upload", "provision", "run", "fetch"])
def test_a_backend_out_of_reach_ends_nothing_and_is_seen_at_the_node(home: Path, backend: Path, hook: str) -> None:
    tell(backend, hook, "unreachable", "...")
    dispatch_id = dispatch(backend, backend.parent)
    wait_until(lambda: "cannot reach its backend since 20" in waiting(dispatch_id))

    assert f"no answer to {hook}; asked again every" in waiting(dispatch_id)
    # What it says changes with each time that it is asked.
    shown = rf"\[waiting: \S*{hook} cannot reach its backend since 20"
    wait_until(lambda: re.search(shown, str(ct.get_result(dispatch_id))))
    assert not node(dispatch_id)["status"].terminal
    wait_until(lambda: calls(backend, hook) >= 3)
    tell(backend, hook)
    result = end(dispatch_id)

    assert result.result == "task"
    assert node(dispatch_id)["waiting"] is None
    assert node(dispatch_id)["attempt"] == 0
    assert len((backend.parent / "task").read_text().splitlines()) == 1


@pytest.mark.parametrize("fault", ["unreachable", "refused"])
def test_a_cancel_ends_the_waiting_at_once(home: Path, backend: Path, fault: str) -> None:
    tell(backend, "upload", fault, "...")
    dispatch_id = dispatch(backend, backend.parent)
    wait_until(lambda: waiting(dispatch_id))
    began = time.monotonic()
    ct.cancel(dispatch_id)

    assert end(dispatch_id).status == Status.CANCELLED
    # The pause would be two minutes after a refusal.
    assert time.monotonic() < began + 10
    assert calls(backend, "upload") == 1 or fault == "unreachable"


def test_while_nobody_knows_whether_a_request_was_accepted_it_is_not_made_again(home: Path, backend: Path) -> None:
    tell(backend, "provision", "lost")
    tell(backend, "find", "perhaps", "...")
    dispatch_id = dispatch(backend, backend.parent)
    wait_until(lambda: "the queue is read again soon" in waiting(dispatch_id))
    wait_until(lambda: calls(backend, "find") >= 3)

    assert node(dispatch_id)["status"] == Status.DISPATCHING
    tell(backend, "find")
    assert end(dispatch_id).result == "task"
    assert calls(backend, "provision") == 1


def test_a_cancel_is_not_confirmed_while_nobody_knows(home: Path, backend: Path) -> None:
    tell(backend, "provision", "lost")
    tell(backend, "find", "perhaps", "...")
    dispatch_id = dispatch(backend, backend.parent, held)
    pids = tree(backend.parent, "task")
    wait_until(lambda: calls(backend, "find") >= 2)
    ct.cancel(dispatch_id)
    wait_until(lambda: node(dispatch_id)["cancelling"] and node(dispatch_id)["cancelling"]["error"])

    assert "the queue is read again soon" in node(dispatch_id)["cancelling"]["error"]
    assert alive(pids[0])
    assert "find barred" in (backend / "calls").read_text()
    tell(backend, "find")
    ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    assert not any(map(alive, pids))


def test_what_a_backend_does_not_take_now_it_takes_later(home: Path, backend: Path) -> None:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend), room=2))
    def workflow(folder):
        return [quick(folder, f"task {n}") for n in range(8)]

    result = ct.get_result(ct.dispatch(workflow)(backend.parent), wait=True, timeout=60)
    told = (backend / "calls").read_text().count("told not now")

    assert result.result == [f"task {n}" for n in range(8)]
    assert all(result.get_node_result(node_id)["attempt"] == 0 for _, node_id in result.nodes())
    assert calls(backend, "provision") == 8
    # All eight ask at first; from then on one at a time.
    assert told <= 6 + 8 * 8


def test_the_jobs_that_are_held_back_ask_one_at_a_time_and_can_be_cancelled(home: Path, backend: Path) -> None:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend), room=0))
    def workflow(folder):
        return [quick(folder, f"task {n}") for n in range(20)]

    dispatch_id = ct.dispatch(workflow)(backend.parent)
    wait_until(lambda: (backend / "calls").exists() and (backend / "calls").read_text().count("told not now") >= 24)
    began = time.monotonic()
    asked = (backend / "calls").read_text().count("told not now")
    wait_until(lambda: (backend / "calls").read_text().count("told not now") >= asked + 5)

    # One probe in 0.2 s, however many wait; were each to ask for itself, it would be a hundred a second.
    assert time.monotonic() - began > 0.7
    assert re.search("takes no further job since 20.*: 0 jobs are enough", waiting(dispatch_id))
    began = time.monotonic()
    ct.cancel(dispatch_id)
    assert end(dispatch_id).status == Status.CANCELLED
    assert time.monotonic() - began < 5


def test_a_hook_knows_how_many_jobs_like_its_own_are_coming(home: Path, backend: Path) -> None:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend), together=True))
    def workflow(folder):
        return [quick(folder, f"task {n}") for n in range(5)]

    result = ct.get_result(ct.dispatch(workflow)(backend.parent), wait=True, timeout=60)
    order = [line.split()[0] for line in (backend / "calls").read_text().splitlines()]

    assert result.status == Status.COMPLETED
    # None was submitted before the last had come.
    assert order.index("provision") > max(place for place, hook in enumerate(order) if hook == "upload")


@pytest.mark.parametrize("down", [False, True], ids=["dispatcher lives", "dispatcher is dead"])
def test_who_gives_a_node_up_is_told_what_is_not_known(home: Path, backend: Path, down: bool) -> None:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend)))
    def workflow(folder):
        return quick(folder, "after", held(folder, "task"))

    tell(backend, "cancel", "unreachable", "...")
    dispatch_id = ct.dispatch(workflow)(backend.parent)
    pids = tree(backend.parent, "task")
    wait_until(lambda: node(dispatch_id)["job_handle"])
    ct.cancel(dispatch_id, reason="it takes too long")
    wait_until(lambda: node(dispatch_id)["cancelling"]["error"])

    if down:
        kill_dispatcher(home)

    assert not ct.cancel(dispatch_id, force=True)
    result = end(dispatch_id)
    error = result.get_node_result(0)["error"]

    assert result.status == Status.FAILED
    assert result.get_node_result(0)["status"] == Status.FAILED
    assert re.match(r"given up by \S+ \(process \d+\): not confirmed to have ended: .*no answer to cancel", error)
    assert [order["force"] for order in result.get_cancellations()] == [False, True]
    assert alive(pids[0])
    let_go(backend.parent, "task")


def test_a_node_that_can_be_ended_is_not_given_up(home: Path, backend: Path) -> None:
    dispatch_id = dispatch(backend, backend.parent, held)
    pids = tree(backend.parent, "task")
    assert ct.cancel(dispatch_id, force=True)

    assert end(dispatch_id).status == Status.CANCELLED
    assert not any(map(alive, pids))


def test_a_sublattice_of_which_a_node_was_given_up_is_not_said_to_have_ended(home: Path, backend: Path) -> None:
    @ct.lattice(executor=ct.executor.SilentExecutor(str(backend)))
    def inner(folder):
        return held(folder, "task")

    @ct.lattice
    def workflow(folder):
        return inner(folder)

    tell(backend, "cancel", "unreachable", "...")
    dispatch_id = ct.dispatch(workflow)(backend.parent)
    tree(backend.parent, "task")
    ct.cancel(dispatch_id)
    ct.cancel(dispatch_id, force=True)
    result = end(dispatch_id)

    assert result.status == Status.FAILED
    assert "given up by" in result.get_node_result(0)["error"]
    let_go(backend.parent, "task")


def test_a_job_without_an_outcome_says_what_was_found_and_the_last_words_of_its_backend(
    home: Path, backend: Path
) -> None:
    tell(backend, "run", "words exit code 137, out of memory")
    result = end(dispatch(backend, backend.parent, held))
    error = result.get_node_result(0)["error"]
    let_go(backend.parent, "task")

    assert result.status == Status.FAILED
    assert error.startswith("the job ended without an outcome for node 0: ")
    assert "/results has " in error or "its runner never began" in error
    assert "The last words of its backend: exit code 137, out of memory" in error


def test_a_wrong_value_from_provision_is_an_error_though_the_job_could_be_found(home: Path, backend: Path) -> None:
    tell(backend, "provision", "none")
    result = end(dispatch(backend, backend.parent, held))

    assert result.status == Status.FAILED
    assert "SilentExecutor.provision returned None, expected str, not empty" in result.get_node_result(0)["error"]
    # What was started is found, and ended.
    assert not any(alive(int(file.read_text())) for file in backend.glob("*/pid"))
    assert calls(backend, "cancel") == 1


def test_a_wrong_value_from_find_is_seen_at_the_node_and_ends_nothing(home: Path, backend: Path) -> None:
    tell(backend, "provision", "lost")
    tell(backend, "find", "true", "true")
    dispatch_id = dispatch(backend, backend.parent)
    wait_until(lambda: "SilentExecutor.find returned True, expected str or Perhaps" in str(waiting(dispatch_id)))
    let_go(backend.parent, "task")

    assert end(dispatch_id).status == Status.COMPLETED
    assert calls(backend, "provision") == 1


def test_a_hook_that_blocks_the_dispatcher_is_named_while_it_does(home: Path, backend: Path) -> None:
    tell(backend, "run", "block 5")
    dispatch_id = dispatch(backend, backend.parent)
    # Seen before it has come to its end, though the event loop stands still.
    words = r"SilentExecutor\.run has blocked the dispatcher for \d s; make it a plain def"
    wait_until(lambda: re.match(words, waiting(dispatch_id)))
    assert "SilentExecutor.run has blocked the dispatcher" in (home / "dispatcher.log").read_text()
    assert end(dispatch_id).result == "task"


def test_a_release_that_fails_is_called_again(home: Path, backend: Path) -> None:
    tell(backend, "release", "unreachable", "unreachable")
    result = end(dispatch(backend, backend.parent))

    assert result.status == Status.COMPLETED
    assert calls(backend, "release") == 3
    assert not list(backend.glob("*/bundle.pyz"))


def test_what_dispatchers_before_have_fetched_of_jobs_that_are_gone_is_removed(home: Path, backend: Path) -> None:
    left = home / "fetched" / "ct-gone"
    left.mkdir(parents=True, mode=0o700)
    (left / "ct-gone.0.outcome").write_bytes(b"{}")
    home.chmod(0o700)

    assert end(dispatch(backend, backend.parent)).status == Status.COMPLETED
    assert not left.exists()
