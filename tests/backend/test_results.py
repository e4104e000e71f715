"""Results from wherever they are: whole, once, and gone when they are released."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from backend.jobs import TICKET, job_of, outcome

from covalent_core._home import find_home
from covalent_core._model.job import Value
from covalent_core.backend import Outcome, fetch_results, read_outcome
from covalent_core.backend.results import release_results, sweep_results
from covalent_core.errors import BackendUnreachableError

SMALL, LARGE = outcome(content=b"5"), outcome(file=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COVALENT_CORE_HOME", str(tmp_path))
    return tmp_path / "fetched"


class FarSide:
    """Files somewhere else, as they are named there, and what was asked for."""

    def __init__(self, **files: bytes | Exception) -> None:
        self.files = {f"{TICKET}.{name.replace('_', '.')[1:]}": content for name, content in files.items()}
        self.asked: list[str] = []

    async def get(self, name: str, target: Path) -> None:
        self.asked.append(name.removeprefix(f"{TICKET}."))
        content = self.files.get(name, FileNotFoundError(name))
        target.write_bytes(b"the beginning")
        await asyncio.sleep(0)

        if isinstance(content, Exception):
            raise content

        target.write_bytes(content)


def fetch(far: FarSide, node_ids: Sequence[int]) -> Mapping[str, Value]:
    job, _ = job_of(1, 2)
    return asyncio.run(fetch_results(job, node_ids, far.get))


def contents(results: Mapping[str, Value]) -> dict[str, bytes]:
    return {name: Path(str(path)).read_bytes() for name, path in results.items()}


def test_outcomes_come_and_the_values_that_have_files(folder: Path) -> None:
    far = FarSide(_1_outcome=SMALL, _2_outcome=LARGE, _2_value=b"value")

    assert contents(fetch(far, [1, 2])) == {
        f"{TICKET}.1.outcome": SMALL,
        f"{TICKET}.2.outcome": LARGE,
        f"{TICKET}.2.value": b"value",
    }
    assert far.asked == ["1.outcome", "2.outcome", "2.value"]
    assert folder.stat().st_mode & 0o77 == 0


def test_a_node_that_has_not_ended_has_no_results() -> None:
    assert fetch(FarSide(_2_outcome=SMALL), [1, 2]).keys() == {f"{TICKET}.2.outcome"}


def test_what_is_here_is_not_brought_again() -> None:
    far = FarSide(_1_outcome=LARGE, _1_value=b"value")
    first = fetch(far, [1])
    far.files.clear()

    assert fetch(far, [1]) == first
    assert far.asked == ["1.outcome", "1.value"]


def test_where_it_fails_it_goes_on_there(folder: Path) -> None:
    lost = BackendUnreachableError("the line is lost")
    far = FarSide(_1_outcome=LARGE, _1_value=lost)

    with pytest.raises(BackendUnreachableError, match="the line is lost"):
        fetch(far, [1])

    assert [path.name for path in (folder / TICKET).iterdir()] == [f"{TICKET}.1.outcome"]
    far.files[f"{TICKET}.1.value"] = b"value"

    assert contents(fetch(far, [1]))[f"{TICKET}.1.value"] == b"value"
    assert far.asked == ["1.outcome", "1.value", "1.value"]


def test_who_is_interrupted_leaves_no_half_of_a_file(folder: Path) -> None:
    async def interrupt() -> None:
        job, _ = job_of(1)
        fetching = asyncio.create_task(fetch_results(job, [1], FarSide(_1_outcome=SMALL).get))

        while not (folder / TICKET).exists() or not list((folder / TICKET).iterdir()):
            await asyncio.sleep(0)

        fetching.cancel()
        await asyncio.wait([fetching])

    asyncio.run(interrupt())

    assert list((folder / TICKET).iterdir()) == []


def test_who_runs_and_who_cancels_may_fetch_at_the_same_time() -> None:
    async def twice() -> list[Mapping[str, Value]]:
        job, _ = job_of(1)
        far = FarSide(_1_outcome=LARGE, _1_value=b"value")
        return await asyncio.gather(*(fetch_results(job, [1], far.get) for _ in range(5)))

    assert all(contents(found)[f"{TICKET}.1.value"] == b"value" for found in asyncio.run(twice()))


def test_a_value_that_is_not_to_be_seen_yet_is_not_known() -> None:
    with pytest.raises(BackendUnreachableError, match=r"1\.outcome is there and .*1\.value is not to be seen yet"):
        fetch(FarSide(_1_outcome=LARGE), [1])


@pytest.mark.parametrize("part", [b"", SMALL[:20]])
def test_an_outcome_that_has_come_in_part_is_not_known_and_not_kept(part: bytes) -> None:
    far = FarSide(_1_outcome=part)

    with pytest.raises(BackendUnreachableError, match="there in part only"):
        fetch(far, [1])

    far.files[f"{TICKET}.1.outcome"] = SMALL
    assert contents(fetch(far, [1])) == {f"{TICKET}.1.outcome": SMALL}


def test_a_disk_that_is_full_here_is_no_lost_line() -> None:
    with pytest.raises(OSError, match="No space left"):
        fetch(FarSide(_1_outcome=OSError(28, "No space left on device")), [1])


def test_what_is_released_is_gone(folder: Path) -> None:
    fetch(FarSide(_1_outcome=SMALL), [1])
    release_results(TICKET)
    release_results(TICKET)

    assert list(folder.iterdir()) == []


def test_a_sweep_leaves_the_whole_files_of_jobs_that_go_on(folder: Path) -> None:
    sweep_results([TICKET])
    fetch(FarSide(_1_outcome=SMALL), [1])
    (folder / "ct-other").mkdir()
    (folder / "ct-other" / "ct-other.1.outcome").touch()
    (folder / TICKET / f"{TICKET}.2.value.abc.part").touch()

    sweep_results([TICKET])

    assert [str(path.relative_to(folder)) for path in folder.rglob("*.*")] == [f"{TICKET}/{TICKET}.1.outcome"]


def test_it_is_below_the_home(folder: Path) -> None:
    assert find_home().fetched == folder


@pytest.mark.parametrize(
    ("record", "read"),
    [
        (outcome(content=b"\n5"), Outcome("COMPLETED", None, None, False)),
        (outcome("FAILED", error="ended by signal 9", ended_by="signal 9"), None),
        (LARGE, Outcome("COMPLETED", None, None, True)),
    ],
)
def test_an_outcome_says_how_a_node_ended(record: bytes, read: Outcome | None, tmp_path: Path) -> None:
    file = tmp_path / "outcome"
    file.write_bytes(record)
    read = read or Outcome("FAILED", "ended by signal 9", "signal 9", False)

    assert read_outcome(record) == read_outcome(file) == read
