"""What is looked at for all jobs of an account at once: AWS Batch, and the objects that jobs leave in S3."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from covalent_core.backend import ENDED, OUTCOME, Alive, Look, Over, Unknown, Watch
from covalent_core_awsbatch._objects import Folder, Objects, Seen, by_folder, owners
from covalent_core_awsbatch._service import Service
from covalent_core_awsbatch._states import OVER, Record, look_of, read

#: How many jobs DescribeJobs is asked for at once, and how many such calls are made for children in one look.
CHUNK, CHILD_CALLS = 100, 2

#: Seconds for which DescribeJobs may leave a job out before that means that AWS no longer knows it. A new one is not
#: listed for a while, one that has ended is for a week.
FORGOTTEN = 600.0

#: Seconds between looks at AWS Batch, at first and for those who are in a hurry.
FIRST_PAUSE, HURRIED_PAUSE = 1.0, 0.5

#: Seconds between looks at S3, at first and at last.
S3_PAUSES = (0.2, 5.0)


class Watched(NamedTuple):
    """A job, as it is looked for.

    Attributes:
        node_ids: Those of a pack whose outcomes are waited for; none if it is the end of the job.
    """

    job_id: str
    location: str
    node_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Files(Alive):
    """What there is of a job in S3.

    Attributes:
        results: The result files: the endings of their names, and what changes as they do; empty for an empty one.
        owners: The orders of which somebody has won or barred the job.
        beat: When it has shown a sign of life last, in seconds since 1970.
        there: Whether its files have not been removed.
    """

    results: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[int, ...] = ()
    beat: float = 0.0
    there: bool = True


class JobFilesWatch(Watch[Watched]):
    """What jobs leave in S3. To it a job is over when its agent says that nothing of it is alive."""

    def __init__(self, objects: Objects) -> None:
        floor, ceiling = S3_PAUSES
        super().__init__(self._look, floor=floor, ceiling=ceiling, hurried=floor, what="its files cannot be seen")
        self._objects = objects

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        folders = {job: Folder.parse(job.location) for job in jobs}
        found: dict[str, dict[str, Seen]] = {}

        for bucket, prefix in {(folder.bucket, folder.siblings) for folder in folders.values()}:
            listed = by_folder(await self._objects.list(bucket, prefix), prefix)
            found |= {str(Folder(bucket, f"{prefix.rpartition('/')[0]}/{name}")): seen for name, seen in listed.items()}

        return {job: look_at(job, found.get(job.location, {})) for job in jobs}


def look_at(job: Watched, files: Mapping[str, Seen]) -> Look:
    """Return what the objects of a job show."""
    results = {
        f".{name.partition('/')[2]}": seen.mark if seen.size else ""
        for name, seen in files.items()
        if name.startswith("results/")
    }

    if ENDED in results or (job.node_ids and all(f".{node_id}{OUTCOME}" in results for node_id in job.node_ids)):
        return Over(ENDED)

    beat = files["results/beat"].modified if "results/beat" in files else 0.0
    return Files("", results=results, owners=tuple(owners(files)), beat=beat, there="bundle.pyz" in files)


class BatchWatch(Watch[Watched]):
    """AWS Batch. Of an array the parent is looked at; its children only where it says that more of them have ended.

    Args:
        ceiling: The longest time, in seconds, between two looks at the same job.
    """

    def __init__(self, service: Service, ceiling: float) -> None:
        floor = min(FIRST_PAUSE, ceiling)
        super().__init__(self._look, floor=floor, ceiling=ceiling, hurried=min(floor, HURRIED_PAUSE))
        self._service = service
        self._missing: dict[str, float] = {}
        self._children: dict[str, Children] = {}
        self._records: dict[str, Record] = {}
        self._shown: dict[str, str] = {}

    async def describe(self, job_ids: Sequence[str]) -> dict[str, Record]:
        """Return what DescribeJobs says of some jobs; it leaves out those that it does not know."""
        found: dict[str, Record] = {}

        for begin in range(0, len(job_ids), CHUNK):
            part = list(job_ids[begin : begin + CHUNK])
            asked = f"DescribeJobs of {len(part)} jobs"
            answer = await self._service.call(self._service.batch.describe_jobs, asked, jobs=part)
            found |= {record.job_id: record for record in map(read, answer["jobs"])}

        self._records |= found
        return found

    def record(self, job_id: str) -> Record | None:
        """Return what AWS has said last of a job, or of that child of its array that is looked at for all of them."""
        return self._records.get(job_id) or self._records.get(self._shown.get(job_id.partition(":")[0], ""))

    async def _look(self, jobs: Sequence[Watched]) -> Mapping[Watched, Look]:
        single, arrays = sorted_out(job.job_id for job in jobs)
        self._shown |= {parent: f"{parent}:{min(children)}" for parent, children in arrays.items()}
        found = await self.describe([*single, *arrays, *(self._shown[parent] for parent in arrays)])
        changed: list[str] = []

        for parent, waited in arrays.items():
            children = self._children.setdefault(parent, Children())
            changed += [f"{parent}:{place}" for place in children.suspects(waited, found.get(parent))]

        found |= await self.describe([job_id for job_id in changed if job_id not in found][: CHUNK * CHILD_CALLS])

        for parent in arrays:
            self._children[parent].note(record for record in found.values() if record.job_id.startswith(f"{parent}:"))

        return {job: self._look_of(job.job_id, found) for job in jobs}

    def _look_of(self, job_id: str, found: Mapping[str, Record]) -> Look:
        if job_id in found:
            self._missing.pop(job_id, None)
            return look_of(found[job_id])

        parent = found.get(job_id.partition(":")[0])

        if parent is not None and parent.state not in OVER:
            self._missing.pop(job_id, None)
            shown = self.record(job_id)
            look = look_of(shown) if shown is not None else Alive(parent.state)
            return look if isinstance(look, Alive) else Alive(parent.state)

        since = self._missing.setdefault(job_id, time.monotonic())

        if time.monotonic() - since > FORGOTTEN:
            return Over("", f"AWS Batch has not known it for {FORGOTTEN / 60:.0f} minutes")

        return Unknown(f"AWS Batch does not list job {job_id}")


class Children:
    """The children of an array that somebody waits for, and whether one of them may have ended."""

    def __init__(self) -> None:
        self._asked_for: set[int] = set()
        self._explained = 0
        self._unexplained = 0
        self._looked_at: set[int] = set()

    def suspects(self, waited: set[int], parent: Record | None) -> list[int]:
        """Return those that may have ended: none while as many have as are waited for no more."""
        self._asked_for |= waited

        if parent is None:
            return []

        ended = sum((parent.summary or {}).get(state, 0) for state in OVER)
        self._unexplained = ended - len(self._asked_for - waited)

        if parent.summary is not None and parent.state not in OVER and self._unexplained <= self._explained:
            return []

        return sorted(waited, key=lambda place: (place in self._looked_at, place))

    def note(self, records: Iterable[Record]) -> None:
        """Know of what was described."""
        self._looked_at |= {int(record.job_id.partition(":")[2]) for record in records}

        if self._asked_for <= self._looked_at:
            self._explained, self._looked_at = max(self._explained, self._unexplained), set()


def sorted_out(job_ids: Iterable[str]) -> tuple[list[str], dict[str, set[int]]]:
    """Return jobs that are none of an array, and by the parent the places of those that are."""
    single: list[str] = []
    arrays: dict[str, set[int]] = {}

    for job_id in job_ids:
        parent, _, place = job_id.partition(":")

        if place:
            arrays.setdefault(parent, set()).add(int(place))
        else:
            single.append(job_id)

    return single, arrays
